"""The port of the metrics: who gets what, and what a client may cost."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families as old_text

from kpf_supervise.events.board import Board
from kpf_supervise.forwarding.listener import bind
from kpf_supervise.metrics import server
from kpf_supervise.metrics.collect import PART, Facts, families
from kpf_supervise.model import TEMPLATE, Status
from kpf_supervise.serving import http
from tests.metrics.reading import OPEN, parsed
from tests.metrics.test_collect import busy, facts

PROMETHEUS = (
    f"{OPEN};escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;q=0.4,*/*;q=0.1"
)


@asynccontextmanager
async def serving(told: list[Facts] | None = None) -> AsyncIterator[tuple[int, Board]]:
    """Facts are taken from the end of `told`; where none are left, it is a bug."""
    board = Board()
    left = [facts(busy())] * 9 if told is None else told
    listening = await bind(replace(TEMPLATE, id="metrics", address="127.0.0.1"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.MetricsServer(left.pop, board).run, listening)
        with trio.fail_after(20):
            yield listening.port, board
        nursery.cancel_scope.cancel()


async def ask(port: int, *headers: str, line: str = "GET /metrics HTTP/1.1") -> tuple[int, dict[str, str], str]:
    """Status, headers and body of an answer, after which the connection ends."""
    named = [*headers] if any(each.lower().startswith("host:") for each in headers) else ["Host: localhost", *headers]
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all("\r\n".join([line, *named, "Connection: close", "", ""]).encode())
        answer = b"".join([bytes(piece) async for piece in stream]).decode()
    head, _, body = answer.partition("\r\n\r\n")
    status, *lines = head.split("\r\n")
    return (
        int(status.split()[1]),
        {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)},
        body,
    )


@pytest.mark.parametrize("accept", [OPEN, PROMETHEUS, "application/openmetrics-text"])
async def test_openmetrics_for_who_understands_it(accept: str) -> None:
    async with serving() as (port, board):
        status, headers, body = await ask(port, f"Accept: {accept}")
        assert (status, headers["content-type"][:28]) == (200, "application/openmetrics-text")
        assert body.endswith("\n# EOF\n")
        assert "kpf_forward_held_seconds" in parsed(body)
        assert not board.history


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/html",
        "text/plain;version=0.0.4",
        "application/openmetrics-text;version=0.0.1",
        "application/openmetrics-text;version=one",
        "application/openmetrics-text;version=1.x.y",
        f"application/openmetrics-text;version={'9' * 5000}",
        "text/plain;version=\N{LATIN SMALL LETTER E WITH ACUTE}",
        ",;=,;;version",
    ],
)
async def test_the_older_text_for_everybody_else(accept: str) -> None:
    async with serving() as (port, board):
        status, headers, body = await ask(port, f"Accept: {accept}")
        assert (status, headers["content-type"][:10]) == (200, "text/plain")
        assert "kpf_forward_connections" in {each.name for each in old_text(body)}
        assert not board.history


async def test_a_large_answer_in_parts_is_the_same() -> None:
    many = facts(*(numbered(number) for number in range(2 * PART + 1)))
    encode, _ = server.encoder(OPEN)
    sliced = await server.written(many, encode)
    whole = encode(server._Only(*families(many, sys.maxsize)))
    assert sliced.decode() == whole.decode()


def numbered(number: int) -> Status:
    status = busy()
    status.forward = replace(status.forward, id=f"web-{number}")
    return status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST.:9464", 200),
        ("127.0.0.1:9464", 200),
        ("[::1]:9464", 200),
        ("192.0.2.7", 200),
        ("evil.example", 421),
        ("evil.example:9464", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("web.localhost", 421),
        ("a b", 400),
        ("", 200),
    ],
)
async def test_a_name_that_leads_here_from_elsewhere_is_refused(host: str, status: int) -> None:
    async with serving() as (port, _):
        found, headers, body = await ask(port, f"Host: {host}")
        assert found == status
        assert ("kpf_build" in body) == (status == 200)
        assert not any(name.startswith("access-control") for name in headers)


async def test_a_page_of_another_site_is_refused() -> None:
    async with serving() as (port, _):
        assert (await ask(port, "Sec-Fetch-Site: cross-site", "Origin: https://evil.example"))[0] == 403
        status, headers, _ = await ask(port, "Sec-Fetch-Site: none")
        assert (status, headers["x-content-type-options"]) == (200, "nosniff")


@pytest.mark.parametrize(
    ("line", "status", "text"),
    [
        ("GET / HTTP/1.1", 200, '<a href="metrics">'),
        ("HEAD / HTTP/1.1", 200, ""),
        ("HEAD /metrics HTTP/1.1", 200, ""),
        ("GET /metrics?name[]=x HTTP/1.1", 200, "kpf_build"),
        ("GET /metrics/ HTTP/1.1", 404, "there are two pages"),
        ("POST /metrics HTTP/1.1", 501, "can only be read"),
        ("CONNECT web.shop:80 HTTP/1.1", 404, "there are two pages"),
        ("GET http://web.shop/ HTTP/1.1", 404, "there are two pages"),
        ("GET", 400, "the request is not HTTP"),
    ],
)
async def test_two_pages_that_can_be_read(line: str, status: int, text: str) -> None:
    async with serving() as (port, board):
        found, headers, body = await ask(port, line=line)
        assert (found, text in body) == (status, True), body
        if line.startswith("HEAD"):
            assert (body, int(headers["content-length"]) > 0) == ("", True)
        assert not board.history


async def test_one_connection_serves_many_scrapes() -> None:
    async with serving() as (port, _), await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for _ in range(3):
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("half", [b"", b"GET /metrics HTTP/1.1\r\nHost: local"])
async def test_a_client_that_asks_for_nothing_is_closed_in_time(half: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST", 0.2)
    async with serving() as (port, board):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(half)
            assert await stream.receive_some() == b""
        assert not board.history


async def test_a_client_that_does_not_read_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def much(*_: object) -> bytes:
        return bytes(30_000_000)

    monkeypatch.setattr(http, "ANSWER", 0.3)
    monkeypatch.setattr(server, "written", much)
    async with serving() as (port, board):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await ask(port, line="GET / HTTP/1.1"))[0] == 200, "others are served meanwhile"
            await trio.sleep(0.4)  # it reads nothing
            got = 0
            with suppress(trio.BrokenResourceError):
                while data := await stream.receive_some():
                    got += len(data)
            assert got < 30_000_000
        assert not board.history


async def test_of_too_many_clients_the_oldest_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST", 3)
    async with serving() as (port, _):
        silent = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(4)]
        assert await silent[0].receive_some() == b""
        assert (await ask(port))[0] == 200
        assert await silent[1].receive_some() == b""
        for each in silent:
            await each.aclose()


async def test_a_bug_ends_one_connection() -> None:
    async with serving([facts(busy())]) as (port, board):
        assert (await ask(port))[0] == 200
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await stream.receive_some() == b""
        assert "a request for the metrics: an error in kpf-supervise itself" in board.history[-1].message
        assert (await ask(port, line="GET / HTTP/1.1"))[0] == 200
