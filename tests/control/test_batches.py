"""Batches: many requests in one line, answered one after the other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
import trio.testing

from kpf_supervise.control.handlers import Handlers
from kpf_supervise.control.server import Connection
from kpf_supervise.events.board import Board
from kpf_supervise.model import TEMPLATE, Trigger
from tests.control.test_jsonrpc import steering

MANY = 200
BATCH = b"[" + b",".join([b'{"jsonrpc":"2.0","id":1,"method":"events"}'] * MANY) + b"]\n"


class Counted:
    """A Handlers that takes note, at each of its calls, of what `count` says."""

    def __init__(self, board: Board, count: Callable[[], int]) -> None:
        self.board, self._steering, self._count = board, steering(board), count
        self.counts: list[int] = []

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        self.counts.append(self._count())
        return await self._steering.call(method, params)


LINES = BATCH[1:-2].replace(b"},{", b"}\n{")
SILENT = (BATCH.replace(b'"id":1,', b""), LINES.replace(b'"id":1,', b""))


@pytest.mark.parametrize("requests", [BATCH, LINES, *SILENT])
async def test_between_two_requests_of_a_batch_every_other_task_gets_its_turn(requests: bytes) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    counted = Counted(Board(), lambda: turns)
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        nursery.start_soon(Connection(theirs, cast(Handlers, counted), lambda: None).run)
        await ours.send_all(requests)
        await ours.send_eof()
        answers = b"".join([chunk async for chunk in ours]).splitlines()
        nursery.cancel_scope.cancel()
    assert len(counted.counts) == MANY
    # trio runs the tasks of a round in any order: the same task may come last in one and first in the next
    assert max(Counter(counted.counts).values()) <= 2, counted.counts
    if requests == BATCH:
        assert [(each["id"], each["result"]) for each in json.loads(b"".join(answers))] == [(1, [])] * MANY


async def test_no_answer_of_a_batch_is_made_before_the_one_before_it_was_taken() -> None:
    counted = Counted(Board(), lambda: 0)
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Connection(theirs, cast(Handlers, counted), lambda: None).run)
        await ours.send_all(BATCH)
        for taken in range(3):
            await trio.testing.wait_all_tasks_blocked()
            assert len(counted.counts) == taken + 1
            await ours.receive_some()
        nursery.cancel_scope.cancel()


async def test_no_event_comes_in_the_middle_of_a_batch() -> None:
    board = Board()
    status = board.add(TEMPLATE)
    ours, theirs = trio.testing.memory_stream_pair()

    class Busy(Counted):
        async def call(self, method: str, params: dict[str, Any]) -> Any:
            board.changed(status, Trigger.CONNECT, "told in the middle")
            return await super().call(method, params)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(Connection(theirs, cast(Handlers, Busy(board, lambda: 0)), lambda: None).run)
        await ours.send_all(b'{"jsonrpc":"2.0","id":0,"method":"subscribe"}\n' + BATCH)
        lines: list[bytes] = []
        rest = b""
        while len(lines) < 2 + MANY:
            *more, rest = (rest + await ours.receive_some()).split(b"\n")
            lines += more
        nursery.cancel_scope.cancel()
    told = [json.loads(line) for line in lines]
    (batch,) = [each for each in told if isinstance(each, list)]
    assert len(batch) == MANY
