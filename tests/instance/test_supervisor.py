"""Changes of what is forwarded: each is made whole. No cluster is asked: nobody connects."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import psutil
import pytest
import trio
import trio.testing

from kpf_supervise.events.board import Board
from kpf_supervise.forwarding.listener import Listening
from kpf_supervise.instance.supervisor import Supervisor
from kpf_supervise.kubectl.orphan_guard import open_orphan_guard
from kpf_supervise.model import Forward, Target

ONE = Forward(id="it", target=Target("pod", "a"), remote=80, lazy=True)


def listening(port: int) -> int:
    found = psutil.Process(os.getpid()).net_connections("tcp")
    return sum(each.laddr.port == port and each.status == psutil.CONN_LISTEN for each in found)


def leaving(close: Callable[[Listening], None], asked: trio.CancelScope) -> Callable[[Listening], None]:
    """`close` by which whoever asked leaves: the forward with the old settings has just ended then."""

    def close_and_leave(listening: Listening) -> None:
        close(listening)
        asked.cancel()

    return close_and_leave


async def test_a_change_is_made_though_whoever_asked_for_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board()
    async with open_orphan_guard() as keeper, trio.open_nursery() as nursery:
        supervisor = Supervisor("false", keeper, board)
        await nursery.start(supervisor.run)
        await supervisor.apply([ONE])
        port = board.statuses["it"].port
        assert port is not None
        before = listening(port)
        with trio.CancelScope() as asked:
            monkeypatch.setattr(Listening, "close", leaving(Listening.close, asked))
            await supervisor.apply([replace(ONE, hold=1.0)])
            await trio.lowlevel.checkpoint()
        monkeypatch.undo()
        assert asked.cancelled_caught
        assert board.statuses["it"].forward.hold == 1.0
        assert board.statuses["it"].port == port
        await trio.testing.wait_all_tasks_blocked()
        assert listening(port) == before
        nursery.cancel_scope.cancel()
    assert listening(port) == 0
