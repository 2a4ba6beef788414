"""The line to the sandbox cluster: far, silent, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.lowlevel
import trio.testing

from kpf_supervise.sandbox import open_cluster
from kpf_supervise.sandbox.line import Line
from tests.kubectl_client import Client, forwarding, running
from tests.sandbox.test_faults import PODS

# client-go pings a silent connection after 30 s, and gives it 15 to answer, unless the environment says otherwise
SOONER = {"HTTP2_READ_IDLE_TIMEOUT_SECONDS": "1", "HTTP2_PING_TIMEOUT_SECONDS": "1"}
SIZE = 5_000_000
Log = list[tuple[float, str]]


async def echo(stream: trio.abc.Stream) -> None:
    with suppress(trio.BrokenResourceError):  # the line was cut
        async for chunk in stream:
            await stream.send_all(chunk)


async def read(stream: trio.abc.Stream, log: Log) -> None:
    """Note what comes, and when."""
    async for chunk in stream:
        log.append((trio.current_time(), chunk.decode()))
    log.append((trio.current_time(), "end"))


async def connect(line: Line, nursery: trio.Nursery, serve: Callable[[trio.abc.Stream], Awaitable[None]] = echo) -> Log:
    """A client that says "a" at once and "b" after 10 s; what it sees."""
    here, there = trio.testing.memory_stream_pair()
    log: Log = []

    async def carry() -> None:
        await line.carry(there, serve)
        await there.aclose()

    async def speak() -> None:
        with suppress(trio.BrokenResourceError):  # the server has closed
            await here.send_all(b"a")
            await trio.sleep(10)
            await here.send_all(b"b")
            await trio.sleep(10)
            await here.send_eof()

    for task in (carry, speak):
        nursery.start_soon(task)
    nursery.start_soon(read, here, log)
    await trio.testing.wait_all_tasks_blocked()
    return log


async def test_each_answer_takes_a_round_trip_and_the_first_one_more(autojump_clock: trio.testing.MockClock) -> None:
    line = Line()
    async with trio.open_nursery() as nursery:
        near = await connect(line, nursery)
        line.round_trip = 1.0
        far = await connect(line, nursery)
    assert [(round(time, 3), text) for time, text in near] == [(0, "a"), (10, "b"), (20, "end")]
    assert [(round(time, 3), text) for time, text in far] == [(2, "a"), (11, "b"), (21, "end")]


async def test_much_is_under_way_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    line = Line()
    line.round_trip = 1.0

    async def stream(connection: trio.abc.Stream) -> None:
        for number in range(100):
            await connection.send_all(b"%d," % number)

    async with trio.open_nursery() as nursery:
        log = await connect(line, nursery, stream)
    assert "".join(text for _, text in log) == "".join(f"{number}," for number in range(100)) + "end"
    assert {round(time, 3) for time, _ in log} == {0.5}


@pytest.mark.parametrize("round_trip", [0.0, 1.0])
async def test_a_silent_line_says_nothing_and_stays_dead(
    round_trip: float, autojump_clock: trio.testing.MockClock
) -> None:
    line = Line()
    line.round_trip = round_trip
    async with trio.open_nursery() as nursery:
        before = await connect(line, nursery)
        await trio.sleep(5)
        line.cut()
        during = await connect(line, nursery)
        await trio.sleep(1)
        line.restore()
        after = await connect(line, nursery)
        await trio.sleep(100)
        assert [text for _, text in before] == ["a", "end"], "the end is that of the client itself"
        assert before[-1][0] >= 20
        assert [text for _, text in during] == ["end"]
        assert [text for _, text in after] == ["a", "b", "end"]


async def test_a_distance_changes_no_byte(tunnel: Client) -> None:
    tunnel.cluster.line.round_trip = 0.02
    assert "db-0" in await tunnel.output("get", "pods")
    async with forwarding(tunnel, "service/web", ":80") as forward:
        (port,) = forward.ports
        assert (await forward.get(port=port)).startswith(b"web-")
        body = await forward.get(f"/bytes/{SIZE}", port)
        assert len(body) == SIZE
        tunnel.cluster.line.round_trip = 0.0
    async with forwarding(tunnel, "service/web", ":80") as forward:
        (port,) = forward.ports
        assert hashlib.sha256(await forward.get(f"/bytes/{SIZE}", port)).digest() == hashlib.sha256(body).digest()


async def test_a_watch_on_a_silent_line_ends_as_a_lost_connection(client: Client, tmp_path: Path) -> None:
    """Recording n01. A watch that is as silent on a good line goes on, since its pings are answered."""
    (tmp_path / "good").mkdir()
    async with open_cluster(tmp_path / "good") as good:
        dying, healthy = (replace(client, cluster=cluster, variables=SOONER) for cluster in (client.cluster, good))
        async with running(healthy, "get", "--raw", PODS) as other, running(dying, "get", "--raw", PODS) as watch:
            await other.says("db-0")
            await watch.says("db-0")
            client.cluster.line.cut()
            await watch.says("error: http2: client connection lost")
            assert await watch.exit_code() == 1
            good.set_ready("db-0", ready=False)
            await other.says('(?s)"ADDED".*"MODIFIED"')


async def test_new_connections_on_a_silent_line_are_accepted_and_unanswered(client: Client) -> None:
    line = client.cluster.line
    line.cut()
    async with await trio.open_tcp_stream("127.0.0.1", client.cluster.port) as early:
        async with running(client, "get", "pods") as kubectl:
            with trio.move_on_after(0.3) as waiting:
                await early.receive_some()
            assert waiting.cancelled_caught
            assert kubectl.alive
        assert not client.cluster.requests
        line.restore()
        assert "db-0" in await client.output("get", "pods")
        with trio.move_on_after(0.3) as waiting:
            await early.receive_some()
        assert waiting.cancelled_caught


async def test_a_tunnel_on_a_silent_line_swallows_requests(tunnel: Client) -> None:
    cluster = tunnel.cluster
    async with forwarding(tunnel, "pod/db-0") as old:
        assert await old.get() == b"db-0\n"
        cluster.line.cut()
        cluster.line.restore()
        with trio.move_on_after(0.3) as waiting:
            await old.get()
        assert waiting.cancelled_caught
        assert old.kubectl.alive
        assert cluster.connections == {"db-0": 1}
        async with forwarding(tunnel, "pod/db-0") as new:
            assert await new.get() == b"db-0\n"
