"""What --check --live prints, from plain values: the table for people, JSON for programs, the rights, the versions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kpf_supervise.inspection.findings import Checked, CheckedCluster, Report
from kpf_supervise.inspection.report import document, lines
from kpf_supervise.inspection.rights import Right, by_resource, missing, needed, review
from kpf_supervise.inspection.versions import shown, skew
from kpf_supervise.model import Cause, Problem, Target

GONE = Problem(Cause.NO_SUCH_OBJECT, 'there is no service "x"', "See: kubectl get services")
DOWN = Problem(Cause.API_UNREACHABLE, "the API server does not answer", "Is the VPN up?")
DOCS = Path(__file__).parents[2] / "docs/asking-the-cluster.md"


def report() -> Report:
    rights = {"create pods/portforward": True, "watch pods": False}
    return Report(
        config="kpf.yaml",
        kubectl="/bin/kubectl",
        version="1.33",
        clusters=[
            CheckedCluster(context="dev", kubeconfig=None, user="me", plugin="aws", server="1.33.0"),
            CheckedCluster(context="far", kubeconfig=Path("/k"), user="me", plugin="aws", problem=DOWN),
        ],
        found=[
            Checked(id="web", kind="forward", target="service/web", remote="http", pod_port=8080, pods=3, ready=2,
                    local=8080, free=True, rights=rights),
            Checked(id="x", kind="forward", target="service/x", remote=80, local=8081, free=False, problems=[GONE]),
            Checked(id="y", kind="forward", target="service/x", remote=80, problems=[GONE, DOWN]),
            Checked(id="off", kind="forward", target="pod/off", remote=80, enabled=False),
            Checked(id="db", kind="each", target="statefulset/db", remote=5432, local=5432, address="::1",
                    running=True, free=True, hints=[Problem(Cause.OTHER, "a hint")]),
            Checked(id="services[0]", kind="services", namespace="dev", services=2),
        ],
    )  # fmt: skip


def test_the_table() -> None:
    assert (
        "\n".join(lines(report()))
        == """\
kubectl 1.33, /bin/kubectl

CONTEXT  SERVER  USER  LOGIN
dev      1.33.0  me    signed in with aws
far      –       me    not signed in with aws

ID           TARGET             PORT         PODS    RIGHTS  LOCAL                   WORKS
web          service/web        http → 8080  2 of 3  1 of 2  localhost:8080          yes
x            service/x          80           –       –       localhost:8081 (taken)  no
y            service/x          80           –       –       localhost, any free     no
off          pod/off            80           –       –       –                       disabled
db           statefulset/db     5432         –       –       [::1]:5432+ (runs)      yes
services[0]  2 services in dev  –            –       –       localhost, 0 ports      yes

far: the API server does not answer. Is the VPN up?
x, y: there is no service "x". See: kubectl get services
hint: db: a hint
2 of 5 would not work"""
    )


def test_all_would_work() -> None:
    made = report()
    made.found = made.found[:1]
    assert lines(made)[-1] == "all would work"
    assert document(made)["ok"]


def test_the_json_has_every_field_that_the_docs_describe_and_no_other() -> None:
    told = json.loads(json.dumps(document(report())))
    assert (told["ok"], [each["ok"] for each in told["forwards"]]) == (False, [True, False, False, True, True, True])
    assert told["forwards"][1]["problems"] == [
        {"cause": "no-such-object", "message": 'there is no service "x"', "nextStep": "See: kubectl get services"}
    ]
    assert told["clusters"][1]["problem"]["cause"] == "api-unreachable"
    assert told["clusters"][1]["kubeconfig"] == "/k"
    table = DOCS.read_text().partition("| field |")[2].partition("\n\n")[0]
    described = re.findall(r"`([\w.\[\]]+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:]))
    fields = ["ok", "config", *(f"kubectl.{name}" for name in told["kubectl"])]
    for part in ("clusters", "forwards"):
        fields += [f"{part}[].{name}" for name in told[part][0]]
    fields += [f"problem.{name}" for name in told["clusters"][1]["problem"]]
    assert sorted(described) == sorted(fields)
    assert [*told] == ["ok", "config", "kubectl", "clusters", "forwards"]


def test_what_forwarding_takes() -> None:
    of_pod = {str(right): right.name for right in needed(Target("pod", "db-0"))}
    assert of_pod == {
        "create pods/portforward": "db-0",
        "get pods/portforward": "db-0",
        "get pods": "db-0",
        "list pods": "",
        "watch pods": "",
    }
    assert needed(Target("deployment", "web"))[-1] == Right("get", "deployments", "apps", "web")
    assert needed(Target("service", "web"))[-1] == Right("get", "services", "", "web")
    assert needed(Target("selector", "app=web")) == needed(Target("service", "web"))[:-1]


def test_the_question_is_the_one_of_can_i() -> None:
    asked = json.loads(review(Right("create", "pods/portforward", name="db-0"), "shop"))
    assert asked["kind"] == "SelfSubjectAccessReview"
    attributes = {
        "verb": "create",
        "resource": "pods",
        "subresource": "portforward",
        "name": "db-0",
        "namespace": "shop",
    }
    assert asked["spec"]["resourceAttributes"] == attributes
    everywhere = json.loads(review(Right("get", "deployments", "apps"), ""))["spec"]["resourceAttributes"]
    assert everywhere == {"verb": "get", "group": "apps", "resource": "deployments", "namespace": ""}


def test_what_is_missing_names_the_rule_to_ask_for() -> None:
    rights = [Right("get", "pods"), Right("create", "pods/portforward"), Right("list", "pods")]
    of_pods, of_tunnel = (str(missing(group, "shop")) for group in by_resource(rights))
    assert of_pods == (
        "you may not get, list pods in namespace shop. Ask for a role with the rule: "
        'apiGroups [""], resources [pods], verbs [get, list]'
    )
    assert "resources [pods/portforward], verbs [create]" in of_tunnel
    assert "in all namespaces" in str(missing(rights[:1], ""))


@pytest.mark.parametrize(
    ("kubectls", "server", "said"),
    [
        ([(1, 33)], "1.33.0", ""),
        ([(1, 33)], "1.34.2-gke.1", ""),
        ([(1, 33)], "v1.31.0", "kubectl 1.33 is 2 minor versions newer than the API server (v1.31.0)"),
        ([(1, 20)], "1.36.2", "kubectl 1.20 is 16 minor versions older"),
        ([(1, 27), (1, 30), (1, 33)], "1.31.1", ""),  # a dispatcher picks one that fits
        ([(1, 27), (1, 33)], "1.36.0", "kubectl 1.33 is 3 minor versions older"),
        ([], "1.33.0", ""),
        ([(1, 33)], "unknown", ""),
    ],
)
def test_versions_that_are_too_far_apart(kubectls: list[tuple[int, int]], server: str, said: str) -> None:
    found = skew(kubectls, server)
    assert str(found or "").startswith(said)
    assert (found is None) == (said == "")


def test_the_version_of_kubectl() -> None:
    assert [shown(each) for each in ([], [(1, 33)], [(1, 27), (1, 30), (1, 33)])] == [None, "1.33", "1.27 to 1.33"]
