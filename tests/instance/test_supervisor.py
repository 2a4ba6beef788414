"""Changes of what is forwarded: each is made whole. No cluster is asked: nobody connects."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import psutil
import pytest
import trio
import trio.testing

from kpf_supervise.events.board import Board
from kpf_supervise.forwarding.listener import Listening
from kpf_supervise.instance.stopped import StoppedEarlier
from kpf_supervise.instance.supervisor import Supervisor
from kpf_supervise.kubectl.orphan_guard import open_orphan_guard
from kpf_supervise.model import ADDED, NOTICE, REMOVED, Cause, Forward, ForwardError, State, Target
from kpf_supervise.origin import Origin

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
        await supervisor.apply({Origin.FILE: [ONE]})
        port = board.statuses["it"].port
        assert port is not None
        before = listening(port)
        with trio.CancelScope() as asked:
            monkeypatch.setattr(Listening, "close", leaving(Listening.close, asked))
            await supervisor.apply({Origin.FILE: [replace(ONE, hold=1.0)]})
            await trio.lowlevel.checkpoint()
        monkeypatch.undo()
        assert asked.cancelled_caught
        assert board.statuses["it"].forward.hold == 1.0
        assert board.statuses["it"].port == port
        await trio.testing.wait_all_tasks_blocked()
        assert listening(port) == before
        nursery.cancel_scope.cancel()
    assert listening(port) == 0


@asynccontextmanager
async def supervising() -> AsyncIterator[tuple[Supervisor, Board, list[str]]]:
    """With the ids of the forwards that were added and removed, as they are told to subscribers."""
    board, told = Board(), list[str]()
    async with open_orphan_guard() as keeper, trio.open_nursery() as nursery:
        with board.subscription() as events:

            async def listen() -> None:
                async for event in events:
                    if event.kind in (ADDED, REMOVED):
                        told.append(f"{event.kind} {event.forward}")
                    elif event.kind == NOTICE:
                        told.append(event.message)

            supervisor = Supervisor("false", keeper, board)
            await nursery.start(supervisor.run)
            nursery.start_soon(listen)
            yield supervisor, board, told
            nursery.cancel_scope.cancel()


def service(name: str, **more: Any) -> Forward:
    return replace(ONE, id=f"shop/{name}", target=Target("service", name), **more)


def states(board: Board) -> dict[str, str]:
    return {id: f"{status.origin} {status.state}" for id, status in board.statuses.items()}


async def test_each_origin_changes_only_its_own_forwards() -> None:
    async with supervising() as (supervisor, board, told):
        await supervisor.apply({Origin.FILE: [ONE], Origin.SERVICES: [service("a"), service("b")]})
        await supervisor.start(replace(ONE, id="mine"))
        kept = {id: status.port for id, status in board.statuses.items()}
        assert [each.id for each in supervisor.started] == ["mine"]
        board.statuses["mine"].lease = 0.0
        assert supervisor.started == []  # one that is kept for a time is not for the next start
        board.statuses["mine"].lease = None
        await supervisor.apply({Origin.SERVICES: [service("b"), service("c")]})
        del kept["shop/a"]
        assert kept.items() <= {id: status.port for id, status in board.statuses.items()}.items()
        await supervisor.apply({Origin.FILE: []})
        assert states(board) == {"shop/b": "services idle", "mine": "kpfctl idle", "shop/c": "services idle"}
        assert [board.statuses[id].declared for id in states(board)] == [True, False, True]
        await trio.testing.wait_all_tasks_blocked()
        assert told == [
            "added it",
            "added shop/a",
            "added shop/b",
            "added mine",
            "removed shop/a",
            "added shop/c",
            "removed it",
        ]


async def test_an_id_is_listed_once_the_file_s_comes_first_and_the_others_are_told() -> None:
    async with supervising() as (supervisor, board, told):
        await supervisor.apply({Origin.SERVICES: [service("a"), service("b")]})
        await supervisor.start(service("mine"))
        with pytest.raises(ForwardError, match="there is a forward shop/a already"):
            await supervisor.start(service("a"))
        await supervisor.apply({Origin.FILE: [service("a", hold=1.0)]})
        assert states(board)["shop/a"] == "file idle"
        assert board.statuses["shop/a"].forward.hold == 1.0
        await supervisor.apply({Origin.SERVICES: [service("a"), service("b"), service("mine")]})
        await trio.testing.wait_all_tasks_blocked()
        assert [each for each in told if "left out" in each] == [
            "services: shop/a is left out: a forward of that name is in the file already",
            "services: shop/mine is left out: a forward of that name is listed by kpfctl already",
        ]
        await supervisor.apply({Origin.FILE: []})
        await supervisor.stop(["shop/mine"])
        assert states(board)["shop/a"] == states(board)["shop/mine"] == "services idle", "they may have it now"


async def test_the_file_s_forward_gets_its_local_port_from_a_service_which_gets_it_back() -> None:
    async with supervising() as (supervisor, board, _):
        await supervisor.apply({Origin.SERVICES: [service("a")]})
        port = board.statuses["shop/a"].port
        a, b = service("a", local=port), service("b", local=port)
        await supervisor.apply({Origin.SERVICES: [a, b]})
        assert states(board) == {"shop/a": "services idle", "shop/b": "services failed"}
        problem = board.statuses["shop/b"].problem
        assert problem is not None
        assert problem.message == f"local port {port} is already in use by the forward shop/a"
        await supervisor.apply({Origin.FILE: [replace(ONE, local=port, address="127.0.0.1")]})
        assert states(board) == {"it": "file idle", "shop/a": "services failed", "shop/b": "services failed"}
        problem = board.statuses["shop/a"].problem
        assert problem is not None
        assert (problem.cause, "by the forward it" in problem.message) == (Cause.LOCAL_PORT, True)
        await supervisor.apply({Origin.FILE: [], Origin.SERVICES: [replace(a, hold=1.0), b]})
        assert states(board) == {"shop/a": "services idle", "shop/b": "services failed"}
        await supervisor.apply({Origin.FILE: [replace(ONE, local=port)], Origin.SERVICES: [a, b]})
        assert board.statuses["it"].state is State.IDLE, "though the service would keep it"
        await supervisor.stop(["it"])
        assert board.statuses["shop/a"].state is State.IDLE


async def test_what_the_user_stopped_is_stopped_when_it_is_listed_again() -> None:
    async with supervising() as (supervisor, board, _):
        supervisor.stopped_earlier = StoppedEarlier(
            {"shop/b": StoppedEarlier().described(service("b"), Origin.SERVICES)}
        )
        await supervisor.apply({Origin.SERVICES: [service("a"), service("b")]})
        assert states(board) == {"shop/a": "services idle", "shop/b": "services stopped"}
        await supervisor.stop(["shop/a"])
        await supervisor.apply({Origin.SERVICES: [service("b")]})
        assert [each.forward.id for each in supervisor.stopped] == ["shop/b"]
        assert list(supervisor.stopped_earlier.all) == ["shop/a"]
        await supervisor.apply({Origin.SERVICES: [service("a"), service("b", hold=1.0)]})
        assert states(board) == {"shop/b": "services idle", "shop/a": "services stopped"}, "b has other settings now"
        assert supervisor.stopped_earlier.all == {}


async def test_of_a_dormant_forward_there_is_only_its_port_until_the_first_connection() -> None:
    async with supervising() as (supervisor, board, _):
        dormant = [service(name, dormant=True) for name in "ab"]
        await supervisor.apply({Origin.SERVICES: dormant})
        assert states(board) == {"shop/a": "services idle", "shop/b": "services idle"}
        tasks = trio.lowlevel.current_statistics().tasks_living
        port = board.statuses["shop/a"].port
        assert port is not None
        async with await trio.open_tcp_stream("127.0.0.1", port):
            await trio.testing.wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().tasks_living > tasks
            assert board.statuses["shop/a"].held == 1
            assert not board.statuses["shop/b"].log[-1].printed
            await supervisor.apply({Origin.SERVICES: [replace(each, hold=1.0) for each in dormant]})
            assert listening(port) == 2, "the ports stay bound"
        await supervisor.stop(["shop/b"])
        assert board.statuses["shop/b"].log[-1].printed, "the user did that"
        await supervisor.apply({Origin.SERVICES: []})
        assert listening(port) == 0
        assert states(board) == {}


async def test_a_dormant_forward_that_has_been_used_is_only_its_port_again(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[trio.Event] = []  # one for each time that it runs; it has come to rest when that is set

    class Used:
        """In the place of a forwarder, whose client comes and goes."""

        def __init__(self, *_: Any) -> None:
            runs.append(trio.Event())

        def begin(self) -> None:
            return

        async def run(self) -> None:
            await runs[-1].wait()

    monkeypatch.setattr("kpf_supervise.instance.entry.Forwarder", Used)
    async with supervising() as (supervisor, board, _):
        await supervisor.apply({Origin.SERVICES: [service("a", dormant=True)]})
        port = board.statuses["shop/a"].port
        assert port is not None
        async with await trio.open_tcp_stream("127.0.0.1", port):
            for count in (1, 2, 3):
                await trio.testing.wait_all_tasks_blocked()
                assert len(runs) == count, "who waits on the socket rings again"
                runs[-1].set()
