"""Time to ready, the cost of a new connection, and throughput."""

from __future__ import annotations

import selectors
import socket
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

from .measure import Row, table
from .tools import Place, Tool

CHUNK = 1 << 20
Begin = Callable[[int, str], socket.socket]  # port, path


def request(port: int, path: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
    return connection


def new_connections(port: int, count: int, begin: Begin = request) -> list[float]:
    """Durations of `count` GETs, each over a new connection, in milliseconds, sorted."""
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        with begin(port, "/") as connection:
            while connection.recv(CHUNK):
                pass
        times.append((time.perf_counter() - begun) * 1000)
    return sorted(times)


def throughput(port: int, streams: int, size: int, begin: Begin = request) -> float:
    """MB/s of `streams` concurrent downloads, `size` bytes in total. `begin` sends a request."""
    buffer = bytearray(CHUNK)
    begun, got = time.perf_counter(), 0
    with selectors.DefaultSelector() as selector:
        for _ in range(streams):
            connection = begin(port, f"/bytes/{size // streams}")
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                connection = key.fileobj  # type: ignore[assignment]
                if count := connection.recv_into(buffer):
                    got += count
                else:
                    selector.unregister(connection)
                    connection.close()
    if got < size // streams * streams:
        raise RuntimeError(f"only {got} of {size} bytes came")
    return got / (time.perf_counter() - begun) / 1e6


def tables(place: Place, tools: Sequence[Tool], rounds: int, connections: int, size: int) -> list[str]:
    """`tools` begin with raw kubectl. A `size` of 0 skips the downloads, which only the sandbox's pods serve."""
    starts = Row("time to ready: exec → first byte of a GET", "s")
    medians, slowest = Row("GET over a new connection, p50", "ms"), Row("GET over a new connection, p99", "ms")
    downloads = {streams: Row(f"download, {streams} stream{'s' * (streams > 1)}", "MB/s") for streams in (1, 8)}
    for turn in range(rounds):
        for tool in in_turn(tools, turn):
            starts.add(tool.name, tool.time_to_ready(place))
    with ExitStack() as stack:
        ports = {tool.name: stack.enter_context(tool.running(place))[0][0] for tool in tools}
        for turn in range(rounds):
            for tool in in_turn(tools, turn):
                times = new_connections(ports[tool.name], connections)
                medians.add(tool.name, statistics.median(times))
                slowest.add(tool.name, times[len(times) * 99 // 100])
            for streams, row in downloads.items() if size else ():
                for tool in in_turn(tools, turn):
                    with suppress(RuntimeError, OSError):  # a tool that loses bytes gets no figure
                        row.add(tool.name, throughput(ports[tool.name], streams, size))
    rows = [starts, medians, slowest, *(downloads.values() if size else ())]
    return [table("One forward", [tool.name for tool in tools], rows)]


def in_turn(tools: Sequence[Tool], turn: int) -> Sequence[Tool]:
    """The tools rotated, so that each round begins with another one."""
    first = turn % len(tools)
    return [*tools[first:], *tools[:first]]
