"""What a client sees of the relay: a TCP server plays the child's port, and its words are said for it."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
import trio
import trio.testing

from kpf_supervise.decision.tunnel_states import Endpoint
from kpf_supervise.forwarding.client import HEAD, Client
from kpf_supervise.forwarding.relay import LARGE, carry
from kpf_supervise.forwarding.tunnel import Tunnel
from kpf_supervise.model import Cause, Forward, Problem, Status, Target
from tests.program import until

Handler = Callable[[trio.SocketStream], Awaitable[None]]


def new_status() -> Status:
    return Status(forward=Forward(id="web", target=Target("pod", "web"), remote=80))


@asynccontextmanager
async def child_that(handler: Handler) -> AsyncIterator[Tunnel]:
    """A child whose port `handler` serves."""
    async with trio.open_nursery() as nursery:
        child = Tunnel(Endpoint(None, "web", 80), lambda: None, print)
        [listener, *_] = await nursery.start(
            trio.serve_tcp,
            handler,
            0,
        )
        child.port = listener.socket.getsockname()[1]
        yield child
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def client_pair() -> AsyncIterator[tuple[trio.SocketStream, Client]]:
    """The user's end of a connection, and ours."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        user = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        ours = await listener.accept()
        async with user, ours:
            yield user, Client(ours)


async def read_all(stream: trio.SocketStream) -> bytes:
    return b"".join([chunk async for chunk in stream])


async def test_bytes_pass_both_ways_and_half_close_too() -> None:
    async def upper(stream: trio.SocketStream) -> None:
        await stream.send_all((await read_all(stream)).upper())  # answers only after the client's FIN
        await stream.send_eof()

    status = new_status()
    async with child_that(upper) as child, client_pair() as (user, client), trio.open_nursery() as nursery:
        nursery.start_soon(carry, client, child, status)
        await user.send_all(b"hello")
        await user.send_eof()
        assert await read_all(user) == b"HELLO"
    assert (status.bytes_in, status.bytes_out, child.proven) == (5, 5, True)


async def test_the_pod_may_end_its_side_first() -> None:
    heard = bytearray()

    async def banner(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 ready\n")
        await stream.send_eof()
        heard.extend(await read_all(stream))

    async with child_that(banner) as child, client_pair() as (user, client), trio.open_nursery() as nursery:
        nursery.start_soon(carry, client, child, new_status())
        assert await read_all(user) == b"220 ready\n"
        await user.send_all(b"bye")
        await user.send_eof()
    assert heard == b"bye"


async def test_a_reader_that_is_slow_slows_the_pod() -> None:
    sent = 0

    async def endless(stream: trio.SocketStream) -> None:
        nonlocal sent
        with suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(bytes(100_000))
                sent += 100_000

    async with child_that(endless) as child, client_pair() as (user, client), trio.open_nursery() as nursery:
        nursery.start_soon(carry, client, child, new_status())
        await user.receive_some(1)
        before = -1
        while sent != before:  # until nothing moves any more
            before = sent
            await trio.testing.wait_all_tasks_blocked(0.3)
        assert sent < 64_000_000
        await trio.aclose_forcefully(user)


async def test_connections_that_wait_hold_no_large_buffers() -> None:
    """After answers that all had to wait for their readers. What may be kept is far less than a buffer for each."""
    answer, count, all_there = bytes(16 * 1024 * 1024), 40, trio.Event()

    async def big(stream: trio.SocketStream) -> None:
        await stream.receive_some(10)
        await stream.send_all(answer)
        await all_there.wait()

    async with child_that(big) as child, AsyncExitStack() as stack, trio.open_nursery() as nursery:
        tracemalloc.start()
        users = []
        for _ in range(count):
            user, client = await stack.enter_async_context(client_pair())
            nursery.start_soon(carry, client, child, new_status())
            await user.send_all(b"GET")
            users.append(user)
        await until(lambda: len(child.blocked) >= count)
        for user in users:
            got = 0
            while got < len(answer):
                got += len(await user.receive_some())
        await trio.testing.wait_all_tasks_blocked()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        nursery.cancel_scope.cancel()
        all_there.set()
    assert held < count * LARGE / 2


async def close_at_once(stream: trio.SocketStream) -> None:
    await stream.receive_some(1000)
    await stream.aclose()


REFUSED = Problem(Cause.REMOTE_REFUSED, "nothing listens")


async def test_a_close_without_a_byte_by_the_pod_itself_is_passed_on() -> None:
    async with child_that(close_at_once) as child, client_pair() as (user, client):
        await user.send_all(b"GET")
        child.handled = 1
        assert await carry(client, child, new_status())


async def test_refused_before_the_end_was_never_served_and_keeps_its_bytes() -> None:
    async with child_that(close_at_once) as child, client_pair() as (user, client):
        await user.send_all(b"GET")
        child.handled, child.unreached, child.said = 1, True, REFUSED
        status = new_status()
        assert not await carry(client, child, status)
        assert bytes(client.head or b"") == b"GET"
        assert status.bytes_in == 0

        async def answer(stream: trio.SocketStream) -> None:
            await stream.send_all(b"200 to " + await stream.receive_some(1000))
            await stream.aclose()

        async with child_that(answer) as next_child, trio.open_nursery() as nursery:
            nursery.start_soon(carry, client, next_child, status)
            assert await user.receive_some(1000) == b"200 to GET"
            await user.send_eof()


async def test_of_unknown_fate_is_never_tried_again() -> None:
    """The tunnel was lost while the request was on its way: the pod may have served it."""
    async with child_that(close_at_once) as child, client_pair() as (user, client):
        await user.send_all(b"POST")
        child.handled, child.exited = 1, Problem(Cause.LOST, "lost connection to pod")
        assert await carry(client, child, new_status())


async def test_a_child_that_never_took_it_did_not_serve_it() -> None:
    async with child_that(close_at_once) as child, client_pair() as (user, client):
        await user.send_all(b"POST")
        child.handled, child.exited = 0, Problem(Cause.LOST, "lost connection to pod")
        assert not await carry(client, child, new_status())


async def test_nothing_sent_yet_means_nothing_served() -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.aclose()

    async with child_that(hang_up) as child, client_pair() as (_, client):
        child.handled, child.exited = 1, Problem(Cause.LOST, "lost connection to pod")
        assert not await carry(client, child, new_status())


async def test_a_gone_port_did_not_serve_it() -> None:
    child = Tunnel(Endpoint(None, "web", 80), lambda: None, print)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    child.port = listener.socket.getsockname()[1]
    await listener.aclose()
    async with client_pair() as (_, client):
        assert not await carry(client, child, new_status())


async def test_more_than_the_head_can_not_be_sent_again() -> None:
    async def swallow(stream: trio.SocketStream) -> None:
        got = 0
        while got < 2 * HEAD:
            got += len(await stream.receive_some(HEAD))
        await stream.aclose()

    async with child_that(swallow) as child, client_pair() as (user, client), trio.open_nursery() as nursery:
        child.unreached, child.said = True, REFUSED
        nursery.start_soon(user.send_all, bytes(2 * HEAD))
        assert await carry(client, child, new_status())


async def left_within(client: Client, seconds: float) -> bool:
    with trio.move_on_after(seconds):
        await client.left()
        return True
    return False


async def test_a_held_client_that_gives_up_is_seen_even_after_it_sent_its_request() -> None:
    async with client_pair() as (user, client):
        await user.send_all(b"POST / HTTP/1.1")
        assert not await left_within(client, 0.1)
        await user.aclose()
        assert await left_within(client, 5)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a half-close from an end")
async def test_a_held_client_that_only_ended_its_side_still_waits() -> None:
    async with client_pair() as (user, client):
        await user.send_all(b"question")
        await user.send_eof()
        assert not await left_within(client, 0.2)
        assert bytes(client.head or b"") == b"question"
        assert client.ended


async def test_without_an_answer_new_connections_get_a_fresh_child_and_a_late_one_raises_the_limit() -> None:
    answer = trio.Event()

    async def slow(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        await answer.wait()
        await stream.send_all(b"at last")

    async with child_that(slow) as child, client_pair() as (user, client), trio.open_nursery() as nursery:
        child.patience.answered, child.patience.limit = True, 0.05
        nursery.start_soon(carry, client, child, new_status())
        await user.send_all(b"GET")
        with trio.fail_after(5):
            while child.unanswered is None:
                await child._signal.wait()
        assert child.unanswered == 0.05
        answer.set()
        assert await user.receive_some(100) == b"at last"
        assert child.patience.limit == 0.1
        assert child.unanswered is None
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("why", ["it never answered anybody", "another client reads nothing", "no byte was asked"])
async def test_it_is_no_sign_of_a_dead_tunnel_if(why: str) -> None:
    async with child_that(read_and_say_nothing) as child, client_pair() as (user, client):
        child.patience.answered, child.patience.limit = why != "it never answered anybody", 0.01
        if why == "another client reads nothing":
            child.blocked[7] = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry, client, child, new_status())
            if why != "no byte was asked":
                await user.send_all(b"GET")
            await trio.testing.wait_all_tasks_blocked(0.1)
            nursery.cancel_scope.cancel()
        assert child.unanswered is None


async def read_and_say_nothing(stream: trio.SocketStream) -> None:
    await read_all(stream)
