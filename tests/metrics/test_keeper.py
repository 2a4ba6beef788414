"""The port of the metrics follows the settings, and touches nothing else."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import psutil
import pytest
import trio

from kpf_supervise.config.contents import Config
from kpf_supervise.events.board import Board
from kpf_supervise.forwarding import listener
from kpf_supervise.instance.desired_state import DesiredState
from kpf_supervise.instance.supervisor import Supervisor
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.metrics.keeper import MetricsKeeper
from kpf_supervise.sources.sources import Sources
from tests.metrics.test_server import ask
from tests.program import free_port

HOST = "127.0.0.1"


class NoSignIns:
    outcomes: dict[str, int] = {}  # noqa: RUF012


class NoForwards:
    logins = NoSignIns()


@dataclass
class Story:
    keeper: MetricsKeeper
    board: Board

    async def want(self, *places: tuple[str, int] | None) -> list[str]:
        """Follow one after another; what was told."""
        before = len(self.board.history)
        for place in places:
            await self.keeper.follow(desired(file=place))
        return [event.message for event in list(self.board.history)[before:]]


def desired(file: tuple[str, int] | None = None, command_line: tuple[str, int] | None = None) -> DesiredState:
    nothing = cast(Sources, None)
    supervisor = cast(Supervisor, NoForwards())
    config = Config((), metrics=file)
    return DesiredState(config, None, False, None, supervisor, nothing, Board(), metrics=command_line)


@asynccontextmanager
async def keeping() -> AsyncIterator[Story]:
    board = Board()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            supervisor = cast(Supervisor, NoForwards())
            yield Story(MetricsKeeper(supervisor, board, OrphanGuard(), nursery), board)
            nursery.cancel_scope.cancel()


def test_the_command_line_wins_over_the_file() -> None:
    assert desired().metrics is None
    assert desired(file=(HOST, 1)).metrics == (HOST, 1)
    assert desired(file=(HOST, 1), command_line=("::1", 2)).metrics == ("::1", 2)


async def test_it_opens_moves_and_closes() -> None:
    first, second = free_port(), free_port()
    async with keeping() as story:
        assert await story.want(None) == []
        assert await story.want((HOST, first)) == [f"metrics: http://{HOST}:{first}/metrics"]
        status, _, body = await ask(first)
        assert status == 200
        (line,) = [line for line in body.splitlines() if line.startswith("process_start_time_seconds ")]
        assert float(line.split()[1]) == pytest.approx(psutil.Process().create_time(), abs=1)
        async with await trio.open_tcp_stream(HOST, first) as kept:
            assert await story.want((HOST, first)) == [], "nothing has changed"
            await kept.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await kept.receive_some()).startswith(b"HTTP/1.1 200 OK")
            assert await story.want((HOST, second)) == [f"metrics: http://{HOST}:{second}/metrics"]
            assert await kept.receive_some() == b""
        socket.create_server((HOST, first)).close()  # it is free
        assert (await ask(second))[0] == 200
        assert await story.want(None) == ["metrics: they are no longer served"]
        socket.create_server((HOST, second)).close()


async def test_a_port_that_is_taken_is_told_and_tried_again_at_the_next_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_holders", dict)  # looking through all processes takes seconds on a busy machine
    free = free_port()
    async with keeping() as story:
        with socket.create_server((HOST, 0)) as taken:
            port = taken.getsockname()[1]
            (told,) = await story.want((HOST, port))
            assert told.startswith(f"metrics: port {port} on {HOST} is already in use. Stop that program, or")
            (told,) = await story.want((HOST, free))
            (told,) = await story.want((HOST, port))
            assert "is already in use" in told
            assert (await ask(free))[0] == 200, "where it was served before, it still is"
        assert await story.want((HOST, port)) == [f"metrics: http://{HOST}:{port}/metrics"]
        assert (await ask(port))[0] == 200
