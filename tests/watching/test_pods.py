"""Recorded histories of pods in, the pod to use out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from kpf_supervise.config.selectors import parse_selector
from kpf_supervise.discovery.choice import Destination, choose, destination, ready, remote_port, untranslated
from kpf_supervise.model import Cause, ForwardError, Target
from kpf_supervise.watching.objects import Change, Expired
from kpf_supervise.watching.pods import Pod, PodSet, read_pod
from tests.recordings import pod_events


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


WEB = Destination(Target("selector", "app=web"), parse_selector("app=web"))
DB = Destination(Target("statefulset", "db"), parse_selector("app=db"))


def story(history: str, where: Destination) -> list[tuple[float, str | None]]:
    """Each change of the chosen pod in a history, with its time: the pod's name and first letters of its UID."""
    pods, current, family = PodSet(), None, None
    told: list[tuple[float, str | None]] = []
    for time, event in pod_events(history):
        pods.apply(encode(event))
        choice = choose(where, pods, current, family)
        family = choice.family
        label = f"{choice.pod.name} {choice.pod.uid[:4]}/{choice.pod.restarts}" if choice.pod else None
        if time >= -1 and (not told or told[-1][1] != label):
            told.append((time, label))
        current = choice.pod or current
    return told


def test_a_rollout_moves_to_the_newest_ready_pod() -> None:
    told = [label for _, label in story("h1-rollout-restart-web", WEB)]
    assert told == ["web-78cc6ff4df-dftmp 529e/0", "web-5448b677cb-9ht8q 279c/0"]


def test_a_pod_named_in_full_is_followed_through_its_deployment() -> None:
    named = Destination(Target("pod", "web-78cc6ff4df-dftmp"))
    told = [label for _, label in story("h1-rollout-restart-web", named)]
    assert told == ["web-78cc6ff4df-dftmp 529e/0", "web-5448b677cb-9ht8q 279c/0"]


@pytest.mark.parametrize("where", [DB, Destination(Target("pod", "db-0"))], ids=str)
def test_the_same_name_with_another_uid_is_another_pod(where: Destination) -> None:
    assert story("h2-delete-db-0", where) == [(0.0675, None), (3.4587, "db-0 0c92/0")]


def test_a_restart_in_the_same_pod_is_another_incarnation() -> None:
    where = Destination(Target("pod", "lone"))
    assert story("h3-crash-lone", where) == [(0.6621, None), (0.7382, "lone 7159/1")]


def test_lost_readiness_moves_on_and_does_not_come_back() -> None:
    pods = PodSet()
    for time, event in pod_events("h4-readiness-flap"):
        if time < 0:
            pods.apply(encode(event))
    current = next(pod for pod in pods if pod.name.endswith("9ht8q"))
    assert choose(WEB, pods, current).pod == current
    for time, event in pod_events("h4-readiness-flap"):
        if time >= 0:
            pods.apply(encode(event))
    moved = choose(WEB, pods, current).pod
    assert moved is not None
    assert moved.name.endswith("pf78l")


def test_scaled_to_nothing_waits_for_the_first_ready_one() -> None:
    told = story("h5-scale-0-1", WEB)
    assert (0.0587, None) in told
    assert told[-1] == (5.427, "web-5448b677cb-gj9p5 2595/0")


def pod(name: str = "a", **changes: Any) -> Pod:
    values: dict[str, Any] = {
        "name": name,
        "uid": f"uid-{name}",
        "created": "2026-01-01T00:00:00Z",
        "labels": {"app": "web"},
        "ready": True,
        "terminating": False,
        "restarts": 0,
        "family": None,
        "ports": {"http": 8080},
        "trouble": "",
    }
    return Pod(**values | changes)


def test_the_reason_is_the_pods_own() -> None:
    assert choose(WEB, PodSet()).reason == "it has no pods"
    broken = [
        pod("a", ready=False, trouble="ImagePullBackOff"),
        pod("b", ready=False, trouble="Pending", created="2027"),
    ]
    assert choose(WEB, PodSet(broken)).reason == "pod b is Pending, and 1 more"
    assert choose(WEB, PodSet([pod(terminating=True)])).reason == "pod a is terminating"


def test_why_a_pod_is_not_ready() -> None:
    def trouble(status: dict[str, Any]) -> str:
        return read_pod(encode({"metadata": {"name": "a", "uid": "u"}, "status": status})).trouble

    waiting = {"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}], "phase": "Running"}
    assert trouble(waiting) == "CrashLoopBackOff"
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes fit"}
    assert trouble({"phase": "Pending", "conditions": [unscheduled]}) == "Unschedulable: 0/3 nodes fit"
    assert trouble({"phase": "Running"}) == "running, but not ready"
    assert trouble({"phase": "Succeeded"}) == "Succeeded"
    assert trouble({"phase": "Failed", "reason": "Evicted"}) == "Failed (Evicted)"


def test_a_pods_own_words_are_one_printable_line_without_secrets() -> None:
    words = "x\x1b]0;owned\x07\ntoken=s3cret-s3cret"
    condition = {"type": "PodScheduled", "status": "False", "reason": "No", "message": words}
    for status in (
        {"containerStatuses": [{"state": {"waiting": {"reason": words}}}]},
        {"phase": "Pending", "conditions": [condition]},
        {"phase": "Failed", "reason": words},
    ):
        trouble = read_pod(encode({"metadata": {"name": "a", "uid": "u"}, "status": status})).trouble
        assert "x\ufffd]0;owned\ufffd token=***" in trouble
    with pytest.raises(ForwardError, match=r"x\ufffd\]0;owned\ufffd token=\*\*\*$"):
        PodSet().apply(encode({"type": "ERROR", "object": {"message": words}}))


def test_a_named_pod_that_was_never_seen_is_missing() -> None:
    assert choose(Destination(Target("pod", "gone-1")), PodSet([pod("a")])).missing


def test_a_named_pod_that_is_there_but_not_ready_is_waited_for() -> None:
    family = ("Deployment", "web")
    both = [pod("a", ready=False, family=family, trouble="Pending"), pod("b", family=family)]
    choice = choose(Destination(Target("pod", "a")), PodSet(both))
    assert (choice.pod, choice.reason) == (None, "pod a is Pending")


def service(**spec: Any) -> Destination:
    item = {"spec": {"selector": {"app": "web"}, "clusterIP": "10.0.0.1", **spec}}
    return destination(Target("service", "web"), encode(item))


PORTS = [
    {"port": 80, "name": "http", "targetPort": "http"},
    {"port": 9090, "name": "metrics", "targetPort": 9191},
    {"port": 7000},
]


@pytest.mark.parametrize(
    ("remote", "container"), [(80, 8080), ("http", 8080), (9090, 9191), ("metrics", 9191), (7000, 7000)]
)
def test_a_services_port_goes_through_its_target_port(remote: int | str, container: int) -> None:
    assert remote_port(service(ports=PORTS), pod(), remote) == container


def test_a_headless_services_number_stays_as_it_is() -> None:
    """As kubectl has it: LookupContainerPortNumberByServicePort, 1.20 to 1.36."""
    headless = service(ports=PORTS, clusterIP="None")
    assert remote_port(headless, pod(), 80) == 80
    advice = "service/web is headless, so its port 80 is not translated, as in the cluster: use port 8080 of its pods"
    assert untranslated(headless, pod(), 80) == untranslated(headless, pod(), "http") == advice
    assert untranslated(headless, pod(), 9090).endswith("use port 9191 of its pods")
    assert untranslated(headless, pod(), 7000) == untranslated(service(ports=PORTS), pod(), 80) == ""


def test_a_port_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ForwardError) as caught:
        remote_port(service(ports=PORTS), pod(), 81)
    assert str(caught.value) == "service/web has no port 81. It has: 80 (http), 9090 (metrics), 7000"
    with pytest.raises(ForwardError) as caught:
        remote_port(WEB, pod(), "grpc")
    assert str(caught.value) == "pod a has no port named grpc. It has: http (8080)"


@pytest.mark.parametrize("spec", [{"selector": None}, {"type": "ExternalName", "externalName": "example.org"}])
def test_a_service_without_selector_leads_nowhere(spec: dict[str, Any]) -> None:
    with pytest.raises(ForwardError) as caught:
        service(**spec)
    assert caught.value.problem.cause is Cause.NO_SELECTOR
    external = "externalName" in spec
    assert ("Connect to example.org itself" in str(caught.value)) == external


def test_an_expired_version_asks_for_a_new_listing() -> None:
    """Recorded: g2b-raw-rv-too-old."""
    status = {"kind": "Status", "message": "too old resource version: 1 (1274)", "reason": "Expired", "code": 410}
    with pytest.raises(Expired):
        PodSet().apply(encode({"type": "ERROR", "object": {**status, "metadata": {}}}))


def test_a_late_delete_does_not_take_the_namesake() -> None:
    pods = PodSet()
    new = {"metadata": {"name": "db-0", "uid": "new"}}
    pods.apply(encode({"type": "ADDED", "object": new}))
    pods.apply(encode({"type": "DELETED", "object": {"metadata": {"name": "db-0", "uid": "old"}}}))
    assert [each.uid for each in pods] == ["new"]


def test_a_bookmark_only_moves_the_version() -> None:
    pods = PodSet()
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "77"}}}
    assert pods.apply(encode(bookmark)) == Change(bookmark=True)
    assert pods.version == "77"


def container(name: str, *ports: tuple[str, int] | tuple[str, int, str], **more: Any) -> dict[str, Any]:
    keys = ("name", "containerPort", "protocol")
    return {"name": name, "ports": [dict(zip(keys, port, strict=False)) for port in ports], **more}


def test_a_port_name_is_the_first_containers_then_a_sidecars_and_of_tcp() -> None:
    """As Kubernetes has it: FindPort in pkg/api/v1/pod."""
    spec = {
        "initContainers": [
            container("migrate", ("admin", 1)),
            container("proxy", ("http", 2), ("mesh", 15000), restartPolicy="Always"),
        ],
        "containers": [
            container("web", ("http", 8080), ("dns", 53, "UDP")),
            container("extra", ("http", 8081), ("dns", 5353, "TCP")),
        ],
    }
    found = read_pod(encode({"metadata": {"name": "a", "uid": "u"}, "spec": spec})).ports
    assert found == {"http": 8080, "dns": 5353, "mesh": 15000}


def test_a_sidecars_restart_is_another_incarnation_and_an_init_containers_is_none() -> None:
    spec = {"initContainers": [container("migrate"), container("proxy", restartPolicy="Always")]}
    status = {
        "initContainerStatuses": [{"name": "migrate", "restartCount": 7}, {"name": "proxy", "restartCount": 2}],
        "containerStatuses": [{"name": "web", "restartCount": 1}],
    }
    assert read_pod(encode({"metadata": {"name": "a", "uid": "u"}, "spec": spec, "status": status})).restarts == 3


def test_of_two_ports_with_one_number_the_tcp_one_is_meant() -> None:
    dns = [
        {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 5300},
        {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": 5353},
    ]
    assert remote_port(service(ports=dns), pod(), 53) == 5353
    with pytest.raises(ForwardError) as caught:
        remote_port(service(ports=dns), pod(), "dns")
    assert str(caught.value) == "port dns of service/web is UDP, and only TCP can be forwarded. It has: 53 (dns-tcp)"


def stateful(*ordinals: int) -> list[Pod]:
    """The later ones are newer."""
    family = ("StatefulSet", "db")
    return [pod(f"db-{n}", created=f"2026-01-01T00:00:{n:02}Z", labels={"app": "db"}, family=family) for n in ordinals]


@pytest.mark.parametrize("where", [DB, Destination(Target("selector", "app=db"), parse_selector("app=db"))], ids=str)
def test_of_a_stateful_set_the_lowest_ordinal_is_chosen(where: Destination) -> None:
    two, ten, eleven = stateful(2, 10, 11)
    assert choose(where, PodSet([eleven, ten, two])).pod == two
    assert choose(where, PodSet([eleven, ten, two]), current=ten).pod == ten  # as long as it stays
    assert choose(where, PodSet([eleven, ten]), current=two).pod == ten


def test_all_ready_pods_are_those_that_would_be_chosen_one_after_the_other() -> None:
    where = Destination(Target("selector", "app=db"), parse_selector("app=db"))
    two, ten, eleven = stateful(2, 10, 11)
    gone = replace(two, name="db-1", terminating=True)
    pods = PodSet([eleven, ten, gone, two, pod("web")])
    assert ready(where, pods, None, None) == [two, ten, eleven]
    plain = [replace(each, family=("Deployment", "db")) for each in (two, ten, eleven)]
    assert ready(where, PodSet(plain), None, None) == plain[::-1]  # the newest first
    named = Destination(Target("pod", "db-2"))
    assert ready(named, pods, None, None) == [two]
    assert ready(named, PodSet(), None, None) == []


def test_the_ready_pods_are_those_of_now() -> None:
    """They are computed once, until a pod changes."""
    where = Destination(Target("selector", "app=web"), parse_selector("app=web"))
    pods = PodSet([pod("a")])
    assert ready(where, pods, None, None) is ready(where, pods, None, None)
    pods.apply(encode({"type": "DELETED", "object": {"metadata": {"name": "a", "uid": "uid-a"}}}))
    assert ready(where, pods, None, None) == []
    pods.replace([pod("b")])
    assert ready(where, pods, None, None) == [pod("b")]


def test_a_pod_of_a_stateful_set_named_in_full_is_replaced_by_its_namesake_alone() -> None:
    """Another member of the set is another database."""
    zero, one = stateful(0, 1)
    named = Destination(Target("pod", "db-1"))
    family = choose(named, PodSet([zero, one])).family
    assert choose(named, PodSet([zero]), one, family).pod is None
    again = pod("db-1", uid="new", labels={"app": "db"}, family=("StatefulSet", "db"))
    assert choose(named, PodSet([zero, again]), one, family).pod == again


def test_a_pod_that_can_not_be_read_counts_as_gone_and_moves_the_version() -> None:
    pods = PodSet([pod("a"), pod("b")])
    odd = {"metadata": {"name": "a", "uid": "u", "resourceVersion": "78"}, "spec": {"containers": "none"}}
    change = pods.apply(encode({"type": "MODIFIED", "object": odd}))
    assert change.item is not None
    assert (change.item.name, pods.version) == ("a", "78")
    assert "containers" in change.unreadable
    assert [each.name for each in pods] == ["b"]
