"""The objects of the sandbox cluster, its selectors, and what a watch of them tells."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from kpf_supervise.sandbox import selectors
from kpf_supervise.sandbox.http import BrokenOff
from kpf_supervise.sandbox.resources import RESOURCES
from kpf_supervise.sandbox.store import FIRST_VERSION, Conflict, Expired, NotFound, Object, Store
from kpf_supervise.sandbox.watch import Watch

PODS = next(resource for resource in RESOURCES if resource.name == "pods")


def pod(name: str, namespace: str = "dev", **labels: str) -> Object:
    return {"metadata": {"name": name, "namespace": namespace, "labels": labels}}


def relabel(store: Store, name: str, **labels: str) -> None:
    store.update("pods", "dev", name, lambda object: object["metadata"].update(labels=labels))


def test_each_change_takes_the_next_version() -> None:
    store = Store()
    store.add("pods", pod("a"))
    relabel(store, "a", app="web")
    relabel(store, "a", app="web")  # changes nothing, so it is no change
    removed = store.remove("pods", "dev", "a")
    told = [(change.type, change.version - FIRST_VERSION) for change in store.since(FIRST_VERSION)]
    assert told == [("ADDED", 1), ("MODIFIED", 2), ("DELETED", 3)]
    assert removed["metadata"]["resourceVersion"] == str(FIRST_VERSION + 3) == str(store.version)
    assert [change.type for change in store.since(FIRST_VERSION + 2)] == ["DELETED"]


def test_what_was_handed_out_never_changes() -> None:
    store = Store()
    before = store.add("pods", pod("a", app="old"))
    relabel(store, "a", app="new")
    assert before["metadata"]["labels"] == {"app": "old"}


def test_names() -> None:
    store = Store()
    for given in (pod("b"), pod("a"), pod("a", namespace="data")):
        store.add("pods", given)
    assert [found["metadata"]["name"] for found in store.select("pods", "dev")] == ["a", "b"]
    assert len(store.select("pods")) == 3
    with pytest.raises(Conflict):
        store.add("pods", pod("a"))
    with pytest.raises(NotFound):
        store.get("pods", "data", "b")
    assert store.find("services", "dev", "a") is None


def test_a_compacted_version_is_too_old() -> None:
    store = Store()
    store.add("pods", pod("a"))
    seen = store.version
    store.compact()
    with pytest.raises(Expired, match=f"too old resource version: {seen} "):
        store.since(seen)
    assert store.since(store.version) == []


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("", "a b c"),
        ("app=web", "a b"),
        ("app==web,tier=front", "a"),
        ("tier!=front", "b c"),
        ("app in (web, db),tier", "a"),
        ("tier notin (front)", "b c"),
        ("!tier", "b c"),
        ("app=nosuch", ""),
    ],
)
def test_label_selectors(selector: str, names: str) -> None:
    store = Store()
    for given in (pod("a", app="web", tier="front"), pod("b", app="web"), pod("c", app="db")):
        store.add("pods", given)
    found = store.select("pods", "dev", selectors.labels(selector))
    assert " ".join(object["metadata"]["name"] for object in found) == names


def test_field_selectors() -> None:
    store = Store()
    store.add("pods", pod("a"))
    store.add("pods", pod("b"))
    wanted = selectors.fields("metadata.name=b,status.phase!=Running")
    assert [object["metadata"]["name"] for object in store.select("pods", "", wanted)] == ["b"]
    with pytest.raises(ValueError, match="not a label selector"):
        selectors.labels("a=b,,(")


async def told(lines: Any) -> list[str]:
    """A watch to its end, each event as `TYPE name`."""
    events = [json.loads(line) async for line in lines]
    return [
        f"{event['type']} {event['object']['metadata'].get('name', event['object'].get('code'))}" for event in events
    ]


async def test_a_watch_begins_with_what_there_is(autojump_clock: trio.testing.MockClock) -> None:
    store = Store()
    store.add("pods", pod("a"))
    store.add("pods", pod("elsewhere", namespace="data"))
    lines = Watch(store, PODS, "dev", selectors.labels("")).lines(None, 5, None)
    async with trio.open_nursery() as nursery:

        async def change() -> None:
            await trio.sleep(1)
            store.add("pods", pod("b"))
            store.add("services", pod("s"))
            await trio.sleep(1)
            store.remove("pods", "dev", "a")

        nursery.start_soon(change)
        assert await told(lines) == ["ADDED a", "ADDED b", "DELETED a"]


async def test_a_watch_goes_on_from_a_version(autojump_clock: trio.testing.MockClock) -> None:
    store = Store()
    store.add("pods", pod("a"))
    version = store.version
    store.add("pods", pod("b"))
    assert await told(Watch(store, PODS, "", selectors.labels("")).lines(version, 1, None)) == ["ADDED b"]


async def test_an_object_that_stops_fitting_is_deleted_to_a_watcher(autojump_clock: trio.testing.MockClock) -> None:
    store = Store()
    version = store.version
    store.add("pods", pod("a", app="other"))
    relabel(store, "a", app="web")
    relabel(store, "a", app="web", more="1")
    relabel(store, "a", app="other")
    lines = Watch(store, PODS, "dev", selectors.labels("app=web")).lines(version, 1, None)
    assert await told(lines) == ["ADDED a", "MODIFIED a", "DELETED a"]


async def test_bookmarks(autojump_clock: trio.testing.MockClock) -> None:
    store = Store()
    store.add("pods", pod("a"))
    lines = Watch(store, PODS, "dev", selectors.labels("")).lines(None, 130, 60, mark_initial=True)
    events = [json.loads(line) async for line in lines]
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK", "BOOKMARK", "BOOKMARK"]
    first, *others = [event["object"]["metadata"] for event in events[1:]]
    assert first == {"resourceVersion": str(store.version), "annotations": {"k8s.io/initial-events-end": "true"}}
    assert others == [{"resourceVersion": str(store.version)}] * 2


async def test_a_version_that_is_too_old_ends_a_watch_with_410(autojump_clock: trio.testing.MockClock) -> None:
    store = Store()
    store.add("pods", pod("a"))
    version = store.version
    store.compact()
    assert await told(Watch(store, PODS, "dev", selectors.labels("")).lines(version, 5, None)) == ["ERROR 410"]


async def test_a_watch_that_is_ended(autojump_clock: trio.testing.MockClock) -> None:
    store = Store()
    store.add("pods", pod("a"))
    watches = {how: Watch(store, PODS, "dev", selectors.labels("")) for how in ("clean", "expired", "abrupt")}

    async def end() -> None:
        await trio.sleep(1)
        for how, watch in watches.items():
            watch.end(how)  # type: ignore[arg-type]

    for how, expected in (("clean", ["ADDED a"]), ("expired", ["ADDED a", "ERROR 410"])):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            assert await told(watches[how].lines(None, 60, None)) == expected
    with pytest.raises(BrokenOff):
        await told(watches["abrupt"].lines(None, 60, None))
