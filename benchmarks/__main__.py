"""`make bench`: kpf-supervise beside raw kubectl, in one run, on the sandbox cluster. Prints a Markdown table.

Every figure is measured on both in turn, round after round, so that a busy machine hurts both alike; shown are the
medians, and the ratio of the medians.
"""

from __future__ import annotations

import json
import os
import platform
import re
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click

CHUNK = 1 << 20


@contextmanager
def running(*command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process around the block, stdout and stderr in one pipe; ended by SIGINT."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def until(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """The first line of its output that matches."""
    said = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if found := re.search(pattern, line):
            return found
    raise RuntimeError(f"no {pattern!r} in the output of {process.args!r}:\n{''.join(said)}")


def request(port: int, path: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
    return connection


def new_connections(port: int, count: int) -> list[float]:
    """Milliseconds that each of `count` GETs over a new connection took."""
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        with request(port, "/") as connection:
            while connection.recv(CHUNK):
                pass
        times.append((time.perf_counter() - begun) * 1000)
    return times


def throughput(port: int, streams: int, size: int) -> float:
    """MB/s of `streams` downloads at once, `size` bytes in all."""
    buffer = bytearray(CHUNK)
    begun, got = time.perf_counter(), 0
    with selectors.DefaultSelector() as selector:
        for _ in range(streams):
            connection = request(port, f"/bytes/{size // streams}")
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


class Bench:
    """One kubectl, one sandbox cluster, and the two ways to its pods."""

    def __init__(self, kubectl: str, kubeconfig: str, folder: Path) -> None:
        self.kubectl, self.environment = kubectl, {"KUBECONFIG": kubeconfig, "HOME": str(folder)}
        self.config = folder / "bench.yaml"
        self.config.write_text("forwards: {it: {target: service/web, ports: ':http'}}\n")

    @contextmanager
    def raw(self) -> Iterator[tuple[int, float]]:
        """A raw kubectl: its port, and the seconds until it was ready."""
        begun = time.perf_counter()
        words = [self.kubectl, "port-forward", "--address=127.0.0.1", "service/web", ":http"]
        with running(*words, **self.environment) as process:
            yield int(until(process, r"Forwarding from \S+:(\d+) ->")[1]), time.perf_counter() - begun

    @contextmanager
    def ours(self) -> Iterator[tuple[int, float]]:
        """The whole program from its start."""
        begun = time.perf_counter()
        words = ["-m", "supervisor.cli", str(self.config), "--kubectl", self.kubectl, "--log-format=json"]
        with running(sys.executable, *words, **self.environment) as process:
            line = until(process, r'.*"event": "active".*')[0]
            took = time.perf_counter() - begun
            yield int(json.loads(line)["message"].split()[0].rpartition(":")[2]), took


def measure(bench: Bench, rounds: int, size: int, connections: int) -> list[tuple[str, str, float, float]]:
    """Rows of the table: what, unit, raw kubectl, ours."""
    seen: dict[str, tuple[list[float], list[float]]] = {}

    def note(what: str, side: int, value: float) -> None:
        seen.setdefault(what, ([], []))[side].append(value)

    for _ in range(rounds):
        for side, way in enumerate((bench.raw, bench.ours)):
            with way() as (port, ready):
                note("time to ready|s", side, ready)
                new_connections(port, 20)
                times = sorted(new_connections(port, connections))
                note("a GET over a new connection, median|ms", side, statistics.median(times))
                note("a GET over a new connection, p99|ms", side, times[len(times) * 99 // 100])
                note("download, 1 stream|MB/s", side, throughput(port, 1, size))
                note("download, 8 streams|MB/s", side, throughput(port, 8, size))
    rows = []
    for what, (raw, ours) in seen.items():
        name, _, unit = what.partition("|")
        rows.append((name, unit, statistics.median(raw), statistics.median(ours)))
    return rows


@click.command()
@click.option("--kubectl", default=lambda: os.environ.get("KUBECTL", "kubectl"), help="The kubectl to measure.")
@click.option("--rounds", default=5, show_default=True, help="How often each is measured.")
@click.option("--megabytes", default=300, show_default=True, help="Size of each download.")
@click.option("--connections", default=200, show_default=True, help="GETs over a new connection in each round.")
def main(kubectl: str, rounds: int, megabytes: int, connections: int) -> None:
    """Measure kpf-supervise beside raw kubectl on the sandbox cluster."""
    with tempfile.TemporaryDirectory() as folder, running(sys.executable, "-m", "supervisor.sandbox") as sandbox:
        bench = Bench(kubectl, until(sandbox, "KUBECONFIG=(.*)")[1], Path(folder))
        rows = measure(bench, rounds, megabytes * 1_000_000, connections)
    answer = json.loads(subprocess.check_output([kubectl, "version", "--client", "-o", "json"]))
    version, machine = answer["clientVersion"]["gitVersion"], f"{platform.system()}, {os.cpu_count()} cores"
    click.echo(f"{datetime.now(UTC):%Y-%m-%d}, kubectl {version}, {machine}, medians of {rounds}\n")
    click.echo("| | raw kubectl | kpf-supervise | ratio |\n| --- | --: | --: | --: |")
    for name, unit, raw, ours in rows:
        click.echo(f"| {name} | {raw:.3g} {unit} | {ours:.3g} {unit} | {ours / raw:.2f} |")


if __name__ == "__main__":
    main()
