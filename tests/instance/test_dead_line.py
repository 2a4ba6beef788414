"""The line to the cluster dies under running forwards: the supervisor in this process, real kubectl, the sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from kpf_supervise.api import server as api_server
from kpf_supervise.events.board import Board
from kpf_supervise.instance.supervisor import Supervisor
from kpf_supervise.kubectl.orphan_guard import open_orphan_guard
from kpf_supervise.model import MOVED, Cluster, Event, Forward, State, Target
from kpf_supervise.origin import Origin
from kpf_supervise.sandbox import open_cluster
from tests.kubectls import Kubectl
from tests.program import PATIENCE, get, until

NAMES = ("one", "two", "three")


class Story:
    """The events of a supervisor's forwards."""

    def __init__(self, board: Board, events: trio.MemoryReceiveChannel[Event]) -> None:
        self.board = board
        self._events = events

    async def until(self, states: Iterable[State], kind: str = "") -> None:
        """Until each forward is in one of these states; `kind`: and has told of it by an event of this kind."""
        told: set[str | None] = set()
        with trio.fail_after(PATIENCE):
            while not all(
                status.state in states and (not kind or id in told) for id, status in self.board.statuses.items()
            ):
                event = await self._events.receive()
                told |= {event.forward} if event.kind == kind else set()

    def port(self, name: str) -> int:
        port = self.board.statuses[name].port
        assert port is not None
        return port


@asynccontextmanager
async def forwarding(kubectl: Kubectl, kubeconfig: Path) -> AsyncIterator[Story]:
    """Three forwards, active."""
    board = Board()
    target, cluster = Target("service", "web"), Cluster(kubeconfig)
    forwards = [Forward(id=name, target=target, remote="http", cluster=cluster, namespace="dev") for name in NAMES]
    async with open_orphan_guard() as guard, trio.open_nursery() as nursery:
        with board.subscription() as events:
            supervisor = Supervisor(kubectl.path, guard, board)
            await nursery.start(supervisor.run)
            await supervisor.apply({Origin.FILE: forwards})
            story = Story(board, events)
            await story.until([State.ACTIVE])
            yield story
        nursery.cancel_scope.cancel()


async def test_a_dead_line_is_known_without_a_client_who_comes_is_held_and_every_tunnel_is_replaced(
    kubectl: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_server, "_QUIET", 0.5)
    monkeypatch.setattr(api_server, "_CHECK", 1.0)
    async with open_cluster(tmp_path) as cluster, forwarding(kubectl, cluster.kubeconfig) as story:
        cluster.line.cut()
        await story.until([State.RECONNECTING])
        answers = []

        async def come() -> None:
            answers.append(await get(story.port("one")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(come)
            await until(lambda: story.board.statuses["one"].held)
            cluster.line.restore()
            await story.until([State.ACTIVE], MOVED)
        assert answers[0].startswith(b"web-")
        assert {status.restarts for status in story.board.statuses.values()} == {1}
        for name in NAMES:
            assert (await get(story.port(name))).startswith(b"web-")
