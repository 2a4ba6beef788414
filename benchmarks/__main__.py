"""`make bench`: kpf-supervise beside raw kubectl, in one run, on the sandbox cluster. Prints a Markdown table.

Every figure is measured on both one right after the other, round after round and in changing order, so that a busy
machine hurts both alike; shown are the medians, and the median (and range) of the ratios of the pairs.
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
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from .panel import idle_cpu, on_terminal

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


@dataclass
class Row:
    """One line of the table: pairs of (raw kubectl, ours), measured one right after the other."""

    name: str
    unit: str
    pairs: list[tuple[float, float]]

    def __str__(self) -> str:
        raw, ours = (statistics.median(side) for side in zip(*self.pairs, strict=True))
        ratios = sorted(ours / raw if raw else float("inf") for raw, ours in self.pairs)
        shown = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"
        return f"| {self.name} | {raw:.3g} {self.unit} | {ours:.3g} {self.unit} | {shown} |"


def measure(bench: Bench, rounds: int, size: int, connections: int) -> list[Row]:
    starts = Row("time to ready, from the start of the program", "s", [])
    medians = Row("GET over a new connection, median", "ms", [])
    slowest = Row("GET over a new connection, p99", "ms", [])
    one, eight = Row("download, 1 stream", "MB/s", []), Row("download, 8 streams", "MB/s", [])
    for _ in range(rounds):
        with bench.raw() as (_, raw), bench.ours() as (_, ours):
            starts.pairs.append((raw, ours))
    with bench.raw() as (raw_port, _), bench.ours() as (our_port, _):
        for turn in range(rounds):
            in_turn = [raw_port, our_port] if turn % 2 else [our_port, raw_port]
            gets = {port: sorted(new_connections(port, connections)) for port in in_turn}
            medians.pairs.append((statistics.median(gets[raw_port]), statistics.median(gets[our_port])))
            slowest.pairs.append((gets[raw_port][connections * 99 // 100], gets[our_port][connections * 99 // 100]))
            for row, streams in ((one, 1), (eight, 8)):
                speeds = {port: throughput(port, streams, size) for port in in_turn}
                row.pairs.append((speeds[raw_port], speeds[our_port]))
    return [starts, medians, slowest, one, eight]


def measure_panel(bench: Bench, rounds: int, size: int) -> list[Row]:
    """Pairs of (without, with) the panel."""
    one, eight = Row("download, 1 stream", "MB/s", []), Row("download, 8 streams", "MB/s", [])
    words = ("--kubectl", bench.kubectl)
    for turn in range(rounds):
        speeds: dict[bool, list[float]] = {}
        for shown in (True, False) if turn % 2 else (False, True):
            more = () if shown else ("--no-panel",)
            with on_terminal(bench.config, *words, *more, **bench.environment) as (client, _):
                (forward,) = client.call("portforward:list")
                speeds[shown] = [throughput(forward["localPort"], streams, size) for streams in (1, 8)]
        for row, at in ((one, 0), (eight, 1)):
            row.pairs.append((speeds[False][at], speeds[True][at]))
    fifty = bench.config.with_name("fifty.yaml")
    rows = "".join(f"  f{number}: {{target: service/web, ports: ':http'}}\n" for number in range(50))
    fifty.write_text(f"forwards:\n{rows}")
    idle = []
    for more in (("--no-panel",), ()):
        with on_terminal(fifty, *words, *more, **bench.environment) as (_, process):
            idle.append(idle_cpu(process))
    return [one, eight, Row("CPU of an idle instance with 50 forwards", "% of a core", [(idle[0], idle[1])])]


@click.command()
@click.option("--kubectl", default=lambda: os.environ.get("KUBECTL", "kubectl"), help="The kubectl to measure.")
@click.option("--rounds", default=9, show_default=True, help="How often each is measured.")
@click.option("--megabytes", default=300, show_default=True, help="Size of each download.")
@click.option("--connections", default=200, show_default=True, help="GETs over a new connection in each round.")
def main(kubectl: str, rounds: int, megabytes: int, connections: int) -> None:
    """Measure kpf-supervise beside raw kubectl on the sandbox cluster."""
    with tempfile.TemporaryDirectory() as folder, running(sys.executable, "-m", "supervisor.sandbox") as sandbox:
        bench = Bench(kubectl, until(sandbox, "KUBECONFIG=(.*)")[1], Path(folder))
        rows = measure(bench, rounds, megabytes * 1_000_000, connections)
        panel_rows = measure_panel(bench, rounds, megabytes * 1_000_000)
    answer = json.loads(subprocess.check_output([kubectl, "version", "--client", "-o", "json"]))
    version, machine = answer["clientVersion"]["gitVersion"], f"{platform.system()}, {os.cpu_count()} cores"
    click.echo(f"{datetime.now(UTC):%Y-%m-%d}, kubectl {version}, {machine}, medians of {rounds}\n")
    click.echo("| | raw kubectl | kpf-supervise | ratio (range) |\n| --- | --: | --: | --: |")
    for row in rows:
        click.echo(str(row))
    click.echo("\n| | without the panel | with it | ratio (range) |\n| --- | --: | --: | --: |")
    for row in panel_rows:
        click.echo(str(row))


if __name__ == "__main__":
    main()
