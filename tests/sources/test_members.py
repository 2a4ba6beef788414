"""From the pods of a target to a forward for each: no cluster is asked."""

from __future__ import annotations

import json
from typing import Any

from kpf_supervise.discovery.choice import Destination, choose, destination
from kpf_supervise.model import Forward, Target
from kpf_supervise.sources.members import Member, forwards_of, members
from kpf_supervise.watching.pods import Pod, PodSet
from tests.watching.test_pods import pod

SET = ("StatefulSet", "db")
DB = Forward(id="db", target=Target("statefulset", "db"), remote=5432, local=5432)


def of_set(*ordinals: int, **changes: Any) -> list[Pod]:
    return [pod(f"db-{number}", family=SET, **changes) for number in ordinals]


def others(*names: str) -> list[Pod]:
    """Created in this order."""
    return [
        pod(name, created=f"2026-01-01T00:00:{n:02}Z", family=("Deployment", "web")) for n, name in enumerate(names)
    ]


def shown(found: list[Member]) -> dict[int, str]:
    return {each.number: each.name if each.pod is not None else f"({each.name})" for each in found}


def test_a_pod_of_a_stateful_set_has_its_ordinal_and_is_expected_back_until_it_is_scaled_down() -> None:
    found = members(of_set(10, 0, 2), [], {})
    assert shown(found) == {0: "db-0", 2: "db-2", 10: "db-10"}
    gone = members(of_set(0, 10), found, {"db": range(11)})
    assert shown(gone) == {0: "db-0", 2: "(db-2)", 10: "db-10"}
    assert shown(members(of_set(0, 2, 10), gone, {"db": range(11)})) == {0: "db-0", 2: "db-2", 10: "db-10"}
    assert shown(members(of_set(0), gone, {"db": range(1)})) == {0: "db-0"}
    assert shown(members([], gone, {"db": range(0)})) == {}


def test_without_the_right_to_read_the_set_a_gap_is_filled_again_and_the_end_is_not() -> None:
    found = members(of_set(0, 1, 2), [], {})
    assert shown(members(of_set(0, 2), found, {})) == {0: "db-0", 1: "(db-1)", 2: "db-2"}
    assert shown(members(of_set(0, 1), found, {})) == {0: "db-0", 1: "db-1"}


def test_any_other_pod_keeps_its_number_and_a_new_one_has_the_lowest_that_is_free() -> None:
    found = members(others("z", "a", "m"), [], {})
    assert shown(found) == {0: "z", 1: "a", 2: "m"}
    assert shown(members(others("a", "m"), found, {})) == {1: "a", 2: "m"}
    assert shown(members(others("a", "m", "new"), found, {})) == {0: "new", 1: "a", 2: "m"}
    evicted = [*others("a"), pod("b", ended=True, ready=False)]
    assert shown(members(evicted, [], {})) == {0: "a"}


def test_two_sets_of_one_service_have_different_numbers() -> None:
    both = [*of_set(0, 1), pod("cache-0", created="2027", family=("StatefulSet", "cache"))]
    assert shown(members(both, [], {})) == {0: "db-0", 1: "db-1", 2: "cache-0"}


def test_local_ports_are_counted_up_and_a_service_s_port_is_the_pod_s_behind_it() -> None:
    found = [*members(of_set(0), [], {}), Member("db-2", 2, SET, None)]
    forwards, _ = forwards_of(DB, Destination(DB.target), "data", found, {})
    assert [(each.id, str(each.target), each.local, each.remote, each.namespace) for each in forwards] == [
        ("db/0", "pod/db-0", 5432, 5432, "data"),
        ("db/2", "pod/db-2", 5434, 5432, "data"),
    ]
    spec = {"selector": {"app": "db"}, "clusterIP": "10.0.0.1", "ports": [{"port": 80, "targetPort": "http"}]}
    where = destination(Target("service", "db"), json.dumps({"spec": spec}).encode())
    two = Forward(id="db/web", target=Target("service", "db"), remote=80)
    before = {"db/2/web": Forward(id="db/2/web", target=Target("pod", "db-2"), remote=8081)}
    forwards, _ = forwards_of(two, where, "data", found, before)
    assert [(each.id, each.local, each.remote) for each in forwards] == [
        ("db/0/web", None, 8080),
        ("db/2/web", None, 8081),
    ]
    odd = Forward(id="db", target=Target("service", "db"), remote=81, local=65535)
    forwards, left_out = forwards_of(odd, where, "data", found[:1], {})
    assert (forwards, left_out) == ([], ["db/0 (service/db has no port 81. It has: 80)"])
    high = Forward(id="db", target=DB.target, remote=81, local=65535)
    assert forwards_of(high, Destination(DB.target), "data", found, {})[1] == ["db/2 (65535+2 is above 65535)"]


def test_a_pod_that_is_alone_is_waited_for_and_no_other_takes_its_place() -> None:
    where = Destination(Target("pod", "web-a"), alone=True)
    one, two = others("web-a", "web-b")
    assert choose(where, PodSet([one, two])).pod == one
    for gone in (PodSet([two]), PodSet([pod("web-a", terminating=True), two])):
        choice = choose(where, gone, one, one.family)
        assert (choice.pod, choice.missing, choice.stuck) == (None, False, False)
        assert choice.reason
