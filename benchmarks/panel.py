"""The cost of the panel: the same instance with and without it, one right after the other."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from kpf_supervise.control.client import Client, NoAnswer

from .measure import Row, cpu_time, table
from .tools import Place
from .transfer import throughput

COLUMNS = {"without the panel": ["--no-panel"], "with it": []}
FORWARDS = 200  # lazy ones: what is measured is the panel, not their kubectls
IDLE = 10.0  # seconds over which the CPU time of an idle instance is measured
STARTS = 3.0  # seconds for a panel to be there
EVENTS = 20
LONGEST = 2.0  # seconds for an event to be shown


@contextmanager
def on_terminal(
    config: Path, *words: str, **environment: str
) -> Iterator[tuple[Client, psutil.Process, list[tuple[float, bytes]]]]:
    """Run the program in a 120×40 terminal that reads all its output. Yields once all its forwards are active or idle:
    a client, the process, and the output so far with its times."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    path = config.with_suffix(".sock")
    process = subprocess.Popen(
        [sys.executable, "-m", "kpf_supervise", str(config), f"--socket={path}", *words],
        env={**os.environ, "TERM": "xterm-256color", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown: list[tuple[float, bytes]] = []
    threading.Thread(target=drain, args=(ours, shown), daemon=True).start()
    try:
        with connected(path) as client:
            while not all(each["active"] or each["state"] == "idle" for each in client.call("portforward:list")):
                time.sleep(0.1)
            yield client, psutil.Process(process.pid), shown
    finally:
        process.terminate()
        process.wait(20)


def tables(place: Place, rounds: int, size: int) -> list[str]:
    """The same instance without and with its panel."""
    rows = [Row("download, 1 stream", "MB/s"), Row("download, 8 streams", "MB/s")]
    with_many = f"with {FORWARDS} idle forwards"
    idle = Row(f"CPU of the supervisor {with_many}, % of a core", "", compared=False)
    cost = Row(f"CPU of the panel {with_many}, % of a core", "", compared=False)
    redraw = Row(f"from an event to the terminal, {with_many}", "ms", compared=False)
    one, many = place.folder / "one.yaml", place.folder / "many.yaml"
    for config, count, lazy in ((one, 1, ""), (many, FORWARDS, ", lazy: true")):
        lines = [f"  f{number}: {{target: {place.target}, ports: ':{place.port}'{lazy}}}\n" for number in range(count)]
        config.write_text(f"forwards:\n{''.join(lines)}")
    words = f"--kubectl={place.kubectl}"
    for turn in range(rounds):
        for column in COLUMNS if turn % 2 else reversed(COLUMNS):
            with on_terminal(one, words, *COLUMNS[column], **place.environment) as (client, _, _):
                port = client.call("portforward:list")[0]["localPort"]
                time.sleep(STARTS)  # its start is no part of what it costs
                for row, streams in zip(rows, (1, 8), strict=True):
                    row.add(column, throughput(port, streams, size))
    for column, more in COLUMNS.items():
        with on_terminal(many, words, *more, **place.environment) as (client, process, shown):
            time.sleep(IDLE / 2)  # until it is idle
            idle.add(column, idle_cpu(process))
            for panel in (each for each in process.children() if "--own" in each.cmdline()):
                cost.add(column, idle_cpu(panel))
                for delay in redraws(client, shown):
                    redraw.add(column, delay * 1000)
    return [table("The panel", list(COLUMNS), [*rows, idle, cost, redraw])]


def redraws(client: Client, shown: list[tuple[float, bytes]]) -> Iterator[float]:
    """Seconds from the moment when a forward has been stopped or started until the terminal got its new state."""
    for number in range(EVENTS):
        method, state = ("restart", b"idle") if number % 2 else ("portforward:stop", b"stopped")
        before = len(shown)
        client.call(method, id=f"f{number // 2}")
        begun = time.monotonic()
        while time.monotonic() < begun + LONGEST:
            if (at := next((at for at, data in shown[before:] if state in data), None)) is not None:
                yield max(at - begun, 0)
                break
            time.sleep(0.001)


def drain(fd: int, shown: list[tuple[float, bytes]]) -> None:
    try:
        while data := os.read(fd, 65536):
            shown.append((time.monotonic(), data))
    except OSError:  # the program has ended
        os.close(fd)


def connected(path: Path) -> Client:
    for _ in range(100):
        try:
            return Client(path)
        except NoAnswer:
            time.sleep(0.1)
    raise RuntimeError(f"nobody serves {path}")


def idle_cpu(process: psutil.Process) -> float:
    """Percent of a core that the process itself uses, without its children."""
    before = cpu_time([process])
    time.sleep(IDLE)
    return (cpu_time([process]) - before) / IDLE * 100
