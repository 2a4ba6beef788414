"""Recorded histories of pods in, the pod to use out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from supervisor.model import Cause, Target, Trouble
from supervisor.pods import (
    Destination,
    Expired,
    Pod,
    PodSet,
    choose,
    destination,
    read_list,
    read_pod,
    remote_port,
)
from supervisor.selector import parse_selector

from .recordings import pod_events

WEB = Destination(Target("selector", "app=web"), parse_selector("app=web"))
DB = Destination(Target("statefulset", "db"), parse_selector("app=db"))


def story(history: str, where: Destination) -> list[tuple[float, str | None]]:
    """Each change of the chosen pod in a history, with its time: the pod's name and first letters of its UID."""
    pods, current, family = PodSet(), None, None
    told: list[tuple[float, str | None]] = []
    for time, event in pod_events(history):
        pods.apply(event)
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
            pods.apply(event)
    current = next(pod for pod in pods if pod.name.endswith("9ht8q"))
    assert choose(WEB, pods, current).pod == current
    for time, event in pod_events("h4-readiness-flap"):
        if time >= 0:
            pods.apply(event)
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
        return read_pod({"metadata": {"name": "a", "uid": "u"}, "status": status}).trouble

    waiting = {"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}], "phase": "Running"}
    assert trouble(waiting) == "CrashLoopBackOff"
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes fit"}
    assert trouble({"phase": "Pending", "conditions": [unscheduled]}) == "Unschedulable: 0/3 nodes fit"
    assert trouble({"phase": "Running"}) == "running, but not ready"
    assert trouble({"phase": "Succeeded"}) == "Succeeded"
    assert trouble({"phase": "Failed", "reason": "Evicted"}) == "Failed (Evicted)"


def test_a_named_pod_that_was_never_seen_is_missing() -> None:
    assert choose(Destination(Target("pod", "gone-1")), PodSet([pod("a")])).missing


def test_a_named_pod_that_is_there_but_not_ready_is_waited_for() -> None:
    family = ("Deployment", "web")
    both = [pod("a", ready=False, family=family, trouble="Pending"), pod("b", family=family)]
    choice = choose(Destination(Target("pod", "a")), PodSet(both))
    assert (choice.pod, choice.reason) == (None, "pod a is Pending")


def service(**spec: Any) -> Destination:
    item = {"spec": {"selector": {"app": "web"}, "clusterIP": "10.0.0.1", **spec}}
    return destination(Target("service", "web"), item)


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
    assert remote_port(service(ports=PORTS, clusterIP="None"), pod(), 80) == 80


def test_a_port_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(Trouble) as caught:
        remote_port(service(ports=PORTS), pod(), 81)
    assert str(caught.value) == "service/web has no port 81. It has: 80 (http), 9090 (metrics), 7000"
    with pytest.raises(Trouble) as caught:
        remote_port(WEB, pod(), "grpc")
    assert str(caught.value) == "pod a has no port named grpc. It has: http (8080)"


@pytest.mark.parametrize("spec", [{"selector": None}, {"type": "ExternalName", "externalName": "example.org"}])
def test_a_service_without_selector_leads_nowhere(spec: dict[str, Any]) -> None:
    with pytest.raises(Trouble) as caught:
        service(**spec)
    assert caught.value.problem.cause is Cause.NO_SELECTOR


@pytest.mark.parametrize("spaces", [{"separators": (",", ":")}, {}, {"indent": 2}])
@pytest.mark.parametrize("names", [[], ["a"], ["a", "b, ]}"]])
def test_a_list_is_read_pod_by_pod(names: list[str], spaces: dict[str, Any]) -> None:
    items = [{"metadata": {"name": name, "uid": f"u-{name}", "resourceVersion": "5"}} for name in names]
    listing = {"kind": "PodList", "metadata": {"resourceVersion": "77"}, "items": items}
    version, pods = read_list(json.dumps(listing, **spaces))
    assert version == "77"
    assert list(pods) == list(map(read_pod, items))


CUT = ["{}", '{"items":[{"metadata":{"name":"a","uid":"u"}},', '{"items":[{"met', '{"items":[']


@pytest.mark.parametrize("text", CUT)
def test_a_list_that_was_cut_short_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"PodList|Expecting|Unterminated"):
        list(read_list(text)[1])


def test_an_expired_version_asks_for_a_new_listing() -> None:
    """Recorded: g2b-raw-rv-too-old."""
    status = {"kind": "Status", "message": "too old resource version: 1 (1274)", "reason": "Expired", "code": 410}
    with pytest.raises(Expired):
        PodSet().apply({"type": "ERROR", "object": {**status, "metadata": {}}})


def test_a_late_delete_does_not_take_the_namesake() -> None:
    pods = PodSet()
    new = {"metadata": {"name": "db-0", "uid": "new"}}
    pods.apply({"type": "ADDED", "object": new})
    pods.apply({"type": "DELETED", "object": {"metadata": {"name": "db-0", "uid": "old"}}})
    assert [each.uid for each in pods] == ["new"]


def test_a_bookmark_only_moves_the_version() -> None:
    pods = PodSet()
    assert pods.apply({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "77"}}}) is None
    assert pods.version == "77"
