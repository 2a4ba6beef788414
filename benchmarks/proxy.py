"""The proxy: the first byte to a name that was never used, and what bytes cost on each way."""

from __future__ import annotations

import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from .measure import Row, table
from .tools import OURS, RAW, Place, free_ports, until_answer
from .transfer import Begin, new_connections, request, throughput

SOCKS, HTTP = f"{OURS.name}: SOCKS5", f"{OURS.name}: HTTP"
SETTLE = 1.0  # seconds for the kubectl that reads to start
GETS = 200


def over_socks(host: str, remote: int, port: int, path: str) -> socket.socket:
    """A request through the proxy on `port`, as `request` makes it."""
    connection = socket.create_connection(("127.0.0.1", port))
    name = host.encode()
    connection.sendall(b"\x05\x01\x00\x05\x01\x00\x03" + bytes([len(name)]) + name + struct.pack("!H", remote))
    left = 12
    while left and (data := connection.recv(left)):
        left -= len(data)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
    return connection


def over_http(host: str, remote: int, port: int, path: str) -> socket.socket:
    return request(port, f"http://{host}:{remote}{path}")


@contextmanager
def proxying(place: Place) -> Iterator[int]:
    """Run the proxy alone; yields its port."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "kpf_supervise", "--kubectl", place.kubectl, "--proxy", str(port)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=place.environment, stdin=quiet, stdout=quiet, stderr=quiet) as process:
        try:
            until_answer(port)
            time.sleep(SETTLE)
            yield port
        finally:
            process.terminate()


def first_byte(begin: Begin, port: int) -> float:
    """Milliseconds from the connection to the first byte of the answer."""
    begun = time.perf_counter()
    with begin(port, "/") as connection:
        if not connection.recv(1):
            raise RuntimeError("the name was not reached")
    return (time.perf_counter() - begun) * 1000


def tables(place: Place, rounds: int, size: int) -> list[str]:
    """Each round takes names of its own; `place` has services enough. The long-lived kubectl that reads from the
    cluster runs already, as it does a moment after the start."""
    first = Row("a name never used before → first byte; raw kubectl: its own start → first byte", "ms")
    single = Row("GET over a new connection, p50", "ms")
    downloads = {streams: Row(f"download, {streams} stream{'s' * (streams > 1)}", "MB/s") for streams in (1, 8)}
    remote, kind = int(place.port), place.target.removeprefix("service/")
    with proxying(place) as port:
        for number in range(rounds):
            begun = time.perf_counter()
            with RAW.running(place):
                first.add(RAW.name, (time.perf_counter() - begun) * 1000)
            for turn, (column, way) in enumerate(((SOCKS, over_socks), (HTTP, over_http))):
                host = f"{kind}-{2 * number + turn}.{place.namespace}"
                first.add(column, first_byte(partial(way, host, remote), port))
        host = f"{kind}.{place.namespace}"
        ways: list[tuple[str, int, Begin]] = [
            (SOCKS, port, partial(over_socks, host, remote)),
            (HTTP, port, partial(over_http, host, remote)),
        ]
        with RAW.running(place) as ([raw], _):
            ways = [(RAW.name, raw, request), *ways]
            for number in range(rounds):
                turned = [*ways[number % 3 :], *ways[: number % 3]]
                for column, at, begin in turned:
                    single.add(column, statistics.median(new_connections(at, GETS, begin)))
                for streams, row in downloads.items():
                    for column, at, begin in turned:
                        row.add(column, throughput(at, streams, size, begin))
    return [table("The proxy", [RAW.name, SOCKS, HTTP], [first, single, *downloads.values()])]
