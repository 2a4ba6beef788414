"""Connections to a local port while there is no tunnel: held, counted, and let go; who accepts, and until when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import trio
import trio.testing

from kpf_supervise.counters import Unserved
from kpf_supervise.decision.tunnel_states import Endpoint
from kpf_supervise.forwarding.acceptor import ConnectionAcceptor
from kpf_supervise.forwarding.listener import bind
from kpf_supervise.forwarding.tunnel import Tunnel
from kpf_supervise.model import TEMPLATE, Cause, Problem, Status
from kpf_supervise.primitives.signal import Signal


@dataclass
class Port:
    number: int
    status: Status
    acceptor: ConnectionAcceptor
    changed: Signal

    async def connect(self, held: int = 1) -> trio.SocketStream:
        """Once so many are held."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.number)
        await self.changed.until(lambda: len(self.acceptor.held) == held)
        return stream

    @property
    def waits(self) -> int:
        """How many have been counted."""
        return list(self.status.counters.held.cumulative())[-1][1]


@asynccontextmanager
async def port() -> AsyncIterator[Port]:
    forward = replace(TEMPLATE, id="it", address="127.0.0.1")
    status, changed = Status(forward=forward), Signal()
    listening = await bind(forward)
    acceptor = ConnectionAcceptor(status, listening, changed.tell, changed.tell)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(acceptor.run)
            yield Port(listening.port, status, acceptor, changed)
            nursery.cancel_scope.cancel()
    listening.close()


async def test_who_is_not_served_is_counted_with_the_reason() -> None:
    async with port() as it:
        for why in (Unserved.HOLD_OVER, Unserved.FAILED):
            async with await it.connect() as client:
                it.acceptor.let_go(it.acceptor.held[0], why)
                assert await client.receive_some() == b""
        leaves = await it.connect()
        await leaves.aclose()
        await it.changed.until(lambda: not it.acceptor.held)
        await trio.testing.wait_all_tasks_blocked()
        assert it.status.counters.unserved == {"hold-over": 1, "failed": 1, "left": 1}
        assert (it.status.counters.connections, it.waits) == (3, 3)


async def test_who_is_held_when_the_forward_stops_is_not_one_of_them() -> None:
    async with port() as it:
        held = await it.connect()
    await held.aclose()
    assert (it.status.counters.connections, it.waits, it.status.counters.unserved) == (1, 0, {})


async def test_who_has_to_wait_again_is_counted_again() -> None:
    async with port() as it, await it.connect() as client:
        gone = Tunnel(Endpoint(None, "it", 80), lambda: None, print)  # nothing listens on its port
        gone.fails(Problem(Cause.LOST, "it is gone"))
        it.acceptor.admit(it.acceptor.held[0], gone)
        await it.changed.until(lambda: len(it.acceptor.held) == 1)
        it.acceptor.let_go(it.acceptor.held[0], Unserved.HOLD_OVER)
        assert await client.receive_some() == b""
        counters = it.status.counters
        assert (counters.connections, it.waits, counters.unserved) == (1, 2, {"hold-over": 1})


async def test_it_rests_once_it_has_no_clients_and_those_who_come_later_wait_on_the_socket() -> None:
    forward = replace(TEMPLATE, id="it", address="127.0.0.1")
    listening = await bind(forward)
    acceptor = ConnectionAcceptor(Status(forward=forward), listening, lambda: None, lambda: None)

    async def connect() -> trio.SocketStream:
        stream = await trio.open_tcp_stream("127.0.0.1", listening.port)
        await trio.testing.wait_all_tasks_blocked()
        return stream

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            ended = trio.Event()

            async def run() -> None:
                await acceptor.run()
                ended.set()

            nursery.start_soon(run)
            first = await connect()
            acceptor.rest()
            await trio.testing.wait_all_tasks_blocked()
            second = await connect()
            assert (acceptor.clients, ended.is_set()) == (2, False), "while it has a client, it accepts"
            for each in (first, second):
                await trio.aclose_forcefully(each)
            await trio.testing.wait_all_tasks_blocked()
            acceptor.rest()
            await ended.wait()
        later = await trio.open_tcp_stream("127.0.0.1", listening.port)
        listening.sockets[0].accept()[0].close()
        assert await later.receive_some() == b""
        await trio.aclose_forcefully(later)
    listening.close()
