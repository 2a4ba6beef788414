"""States, events, and what they look like printed."""

from __future__ import annotations

import json
import os
import re

import pytest
import trio
import trio.testing

from kpf_supervise.events.board import Board
from kpf_supervise.events.log import as_json, as_text, print_events
from kpf_supervise.model import TRANSITIONS, Cause, Event, Forward, Problem, State, Target, Trigger

WEB = Forward(id="web", target=Target("service", "web"), remote=80)


def test_from_every_state_all_can_happen_but_ready() -> None:
    assert set(TRANSITIONS) == set(State)
    for state, row in TRANSITIONS.items():
        assert set(row) | {Trigger.READY, Trigger.SPREAD, Trigger.RESUMED} == set(Trigger), state
        assert row[Trigger.STOP] is State.STOPPED


def test_active_comes_only_from_connecting_or_from_what_was_active() -> None:
    into_active = {(state, what) for state, row in TRANSITIONS.items() for what in row if row[what] is State.ACTIVE}
    assert into_active == {
        (State.CONNECTING, Trigger.READY),
        *((state, Trigger.RESUMED) for state in (State.RECONNECTING, State.WAITING, State.CONNECTING)),
        (State.ACTIVE, Trigger.SPREAD),
    }


async def test_what_is_not_in_the_table_can_not_happen() -> None:
    board = Board()
    with pytest.raises(KeyError):
        board.changed(board.add(WEB), Trigger.READY, "")


async def test_subscribers_hear_all_and_a_slow_one_is_dropped() -> None:
    board = Board()
    status = board.add(WEB)
    with board.subscription() as quick, board.subscription(limit=1) as slow:
        board.changed(status, Trigger.CONNECT, "a")
        board.changed(status, Trigger.READY, "b")
        assert [quick.receive_nowait().message, quick.receive_nowait().message] == ["a", "b"]
        assert [event.message async for event in slow] == ["a"]
    assert (status.state, status.problem) == (State.ACTIVE, None)


async def test_the_status_keeps_the_problem_until_the_next_change() -> None:
    board = Board()
    status = board.add(WEB)
    problem = Problem(Cause.LOST, "lost connection to pod")
    board.changed(status, Trigger.CONNECT, "")
    board.changed(status, Trigger.RETRY, "attempt 1", problem=problem)
    assert status.problem == problem
    board.changed(status, Trigger.CONNECT, "")
    assert status.problem is None


EVENT = Event(
    time=1_700_000_000.25,
    forward="web/http",
    kind="reconnecting",
    message="attempt 1 of 3 now: lost connection to pod",
    state=State.RECONNECTING,
    cause=Cause.LOST,
    attempt=1,
    attempts=3,
    delay=0.0,
)


def test_an_event_for_people() -> None:
    line = as_text(EVENT)
    assert line is not None
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d web/http         reconnecting  attempt 1 of 3 now: lost connection to pod", line
    )


def test_an_event_for_machines() -> None:
    assert json.loads(as_json(EVENT) or "") == {
        "time": "2023-11-14T22:13:20.250Z",
        "forward": "web/http",
        "event": "reconnecting",
        "message": "attempt 1 of 3 now: lost connection to pod",
        "state": "reconnecting",
        "cause": "lost-connection",
        "attempt": 1,
        "attempts": 3,
        "delay": 0.0,
    }


async def test_a_reader_that_takes_nothing_stops_only_the_printing() -> None:
    board = Board()
    status = board.add(WEB)
    reading, writing = os.pipe()
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(print_events, board, "json", writing)
            for _ in range(2_000):  # far more than a pipe holds
                board.changed(status, Trigger.GIVE_UP, "x" * 100)
            await trio.testing.wait_all_tasks_blocked()
            assert len(os.read(reading, 1_000_000)) > 10_000
            nursery.cancel_scope.cancel()
    finally:
        os.close(reading)
        os.close(writing)


async def test_a_reader_that_is_gone_ends_the_printing_quietly() -> None:
    board = Board()
    status = board.add(WEB)
    reading, writing = os.pipe()
    os.close(reading)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(print_events, board, "text", writing)
            board.changed(status, Trigger.GIVE_UP, "nobody reads this")
    os.close(writing)
