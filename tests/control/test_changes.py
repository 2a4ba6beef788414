"""What changes of a forward without an event: found, and told once a second to who wants it."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
import trio
import trio.testing

from kpf_supervise.control.changes import UNTOLD, Changes
from kpf_supervise.control.server import Connection
from kpf_supervise.counters import count
from kpf_supervise.events.board import Board
from kpf_supervise.model import TEMPLATE, Status, Trigger
from tests.control.test_jsonrpc import steering


def test_all_that_can_be_seen_of_a_forward_is_told_by_events_or_as_a_counter() -> None:
    by_events = {"state", "since", "problem", "attempt", "attempts", "retry_at"}
    elsewhere = {"open", "log", "counters", "left"}  # `describe`, `logs`, metrics, leases
    assert {each.name for each in fields(Status)} | {"restarts"} == {*UNTOLD} | by_events | elsewhere


@pytest.mark.parametrize("name", [each for each in UNTOLD if each not in ("forward", "origin")])
def test_each_change_is_found_once(name: str) -> None:
    statuses = {id: Status(forward=TEMPLATE) for id in ("web", "db")}
    changes = Changes(statuses, 10.0)
    if name == "restarts":
        count(statuses["db"].counters.losses, "quiet")
    else:
        setattr(statuses["db"], name, 1)
    assert changes.look(11.5) == (1.5, [statuses["db"]])
    assert changes.look(12.5) == (1.0, [])


def test_what_is_new_or_no_longer_listed() -> None:
    statuses = {"web": Status(forward=TEMPLATE)}
    changes = Changes(statuses, 0.0)
    statuses["db"] = Status(forward=TEMPLATE)
    assert changes.look(1.0) == (1.0, [statuses["db"]])
    del statuses["web"]
    assert changes.look(2.0) == (1.0, [])


async def test_they_are_told_once_a_second_to_who_wants_them(autojump_clock: trio.testing.MockClock) -> None:
    board = Board()
    status = board.add(TEMPLATE)
    ours, theirs = trio.testing.memory_stream_pair()

    async def subscribe(**params: Any) -> None:
        await ours.send_all(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": params}).encode())
        await ours.send_all(b"\n")

    async def told() -> list[tuple[float, str, Any]]:
        lines = (await ours.receive_some()).splitlines()
        return [(trio.current_time(), each.get("method", ""), each.get("params")) for each in map(json.loads, lines)]

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Connection(theirs, steering(board), lambda: None).run)
            await subscribe()
            assert [method for _, method, _ in await told()] == [""]
            await trio.sleep(10)
            begun = trio.current_time()
            for _ in range(2):  # twice tells nothing twice
                await subscribe(counters=True)
                await trio.testing.wait_all_tasks_blocked()
            assert [method for _, method, _ in await told()] == ["", ""]  # nothing was told in the ten seconds before
            status.bytes_in = 5
            ((at, method, params),) = await told()
            assert (round(at - begun, 3), method, params["seconds"]) == (1.0, "counters", 1.0)
            assert [each["bytesIn"] for each in params["portForwards"]] == [5]
            board.changed(status, Trigger.CONNECT, "an event tells it")
            assert [method for _, method, _ in await told()] == ["event"]
            ((at, _, params),) = await told()
            assert (round(at - begun, 3), params["portForwards"]) == (2.0, [])
            await ours.send_eof()
