"""The proxy's port: what a client may cost, and that it costs nobody else anything."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import pytest
import trio
import trio.testing

from kpf_supervise.config.contents import Proxy
from kpf_supervise.events.board import Board
from kpf_supervise.forwarding.listener import bind
from kpf_supervise.model import TEMPLATE
from kpf_supervise.protocols.refusal import Refused, Why
from kpf_supervise.proxying import server
from kpf_supervise.proxying.directory import Directory
from kpf_supervise.proxying.ways import Directly, Way
from kpf_supervise.serving import http


class NoCluster:
    """A directory without a name."""

    settings = Proxy(port=1080)

    def __init__(self) -> None:
        self.bug = False

    async def find(self, host: str, port: int | None, peer: str) -> Way:
        if self.bug:
            raise ZeroDivisionError
        raise Refused(Why.NO_SUCH_NAME, f"there is no {host}.")


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[int, NoCluster, Board]]:
    directory, board = NoCluster(), Board()
    listening = await bind(replace(TEMPLATE, id="proxy", address="127.0.0.1"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.ProxyServer(cast(Directory, directory), board).run, listening)
        with trio.fail_after(20):
            yield listening.port, directory, board
        nursery.cancel_scope.cancel()


async def ask(port: int, data: bytes = b"GET / HTTP/1.0\r\n\r\n") -> bytes:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(data)
        return b"".join([bytes(piece) async for piece in stream])


@pytest.mark.parametrize("half", [b"", b"\x05", b"\x05\x01\x00\x05\x01", b"G", b"GET / HTTP/1.1\r\nHost: local"])
async def test_half_a_greeting_ends_after_a_time(half: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FIRST", 0.2)
    monkeypatch.setattr(http, "FIRST", 0.2)
    async with serving() as (port, _, board):
        assert await ask(port, half) in (b"", b"\x05\x00")
        assert (await ask(port)).startswith(b"HTTP/1.1 200 OK")
        assert not board.history


async def test_bytes_that_trickle_do_not_keep_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST", 0.3)
    async with serving() as (port, _, _), await trio.open_tcp_stream("127.0.0.1", port) as stream:
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def trickle() -> None:
                await stream.send_all(b"GET / HTTP/1.1\r\n")
                while True:
                    await trio.sleep(0.02)
                    await stream.send_all(b"X")

            nursery.start_soon(trickle)
            assert await stream.receive_some() == b""
            nursery.cancel_scope.cancel()
        assert trio.current_time() - begun < 5


async def test_beyond_the_limit_the_oldest_that_has_asked_for_nothing_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "MOST", 3)
    async with serving() as (port, _, _):
        silent = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(4)]
        assert await silent[0].receive_some() == b""
        await silent[2].send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await silent[2].receive_some()).startswith(b"HTTP/1.1 200 OK")
        silent += [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(3)]
        assert await silent[1].receive_some() == b""
        assert await silent[3].receive_some() == b""
        await silent[2].send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await silent[2].receive_some()).startswith(b"HTTP/1.1 200 OK"), "it is known by now"
        for each in silent:
            await each.aclose()


async def test_a_thousand_silent_connections_cost_little_and_others_are_served() -> None:
    async with serving() as (port, _, _):
        assert (await ask(port)).startswith(b"HTTP/1.1 200 OK")
        tracemalloc.start()
        try:
            silent = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(1000)]
            for each in silent:
                await each.send_all(b"GET / HTTP/1.1\r\nHost: ")
            assert (await ask(port)).startswith(b"HTTP/1.1 200 OK")
            assert tracemalloc.get_traced_memory()[0] < 40_000_000  # both ends
        finally:
            tracemalloc.stop()
        for each in silent:
            await trio.aclose_forcefully(each)
        await trio.testing.wait_all_tasks_blocked()


async def test_a_bug_ends_one_connection() -> None:
    async with serving() as (port, directory, board):
        directory.bug = True
        assert await ask(port, b"GET http://web.dev/ HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        assert "a connection to the proxy: an error in kpf-supervise itself" in board.history[-1].message
        directory.bug = False
        assert (await ask(port)).startswith(b"HTTP/1.1 200 OK")


async def test_what_is_refused_is_told_once() -> None:
    async with serving() as (port, _, board):
        name = b"\x05\x01\x00\x05\x01\x00\x03\x08web.shop\x00\x50"
        for _ in range(3):
            assert (await ask(port, name))[2:4] == b"\x05\x04"
        assert [each.message for each in board.history] == ["proxy: refused: there is no web.shop."]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "::ffff:127.0.0.1", "169.254.169.254", "0.0.0.0"])
async def test_nothing_of_this_machine_is_reached_directly(host: str) -> None:
    with pytest.raises(Refused) as caught:
        await Directly(host, 80).connect()
    assert caught.value.why is Why.ADDRESS


async def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        await Directly("nosuch.invalid", 80).connect()
    assert caught.value.why is Why.NO_SUCH_NAME
