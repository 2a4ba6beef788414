"""Who accepts from a forward's local port, and until when."""

from __future__ import annotations

import trio
import trio.testing

from kpf_supervise.forwarding.acceptor import ConnectionAcceptor
from kpf_supervise.forwarding.listener import bind
from kpf_supervise.model import Forward, Status, Target


async def test_it_rests_once_it_has_no_clients_and_those_who_come_later_wait_on_the_socket() -> None:
    forward = Forward(id="web", target=Target("pod", "web"), remote=80, address="127.0.0.1")
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
