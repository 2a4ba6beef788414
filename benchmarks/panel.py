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
FORWARDS = 50
IDLE = 10.0  # seconds over which the CPU time of an idle instance is measured


@contextmanager
def on_terminal(config: Path, *words: str, **environment: str) -> Iterator[tuple[Client, psutil.Process]]:
    """Run the program in a 120×40 terminal that reads all its output. Yields once all its forwards are active."""
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
    threading.Thread(target=drain, args=(ours,), daemon=True).start()
    try:
        with connected(path) as client:
            while not all(each["active"] for each in client.call("portforward:list")):
                time.sleep(0.1)
            yield client, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def tables(place: Place, rounds: int, size: int) -> list[str]:
    """The same instance without and with its panel."""
    rows = [Row("download, 1 stream", "MB/s"), Row("download, 8 streams", "MB/s")]
    idle = Row(f"CPU of the supervisor with {FORWARDS} idle forwards, % of a core", "", compared=False)
    one, fifty = place.folder / "one.yaml", place.folder / "fifty.yaml"
    for config, count in ((one, 1), (fifty, FORWARDS)):
        lines = [f"  f{number}: {{target: {place.target}, ports: ':{place.port}'}}\n" for number in range(count)]
        config.write_text(f"forwards:\n{''.join(lines)}")
    words = f"--kubectl={place.kubectl}"
    for turn in range(rounds):
        for column in COLUMNS if turn % 2 else reversed(COLUMNS):
            with on_terminal(one, words, *COLUMNS[column], **place.environment) as (client, _):
                port = client.call("portforward:list")[0]["localPort"]
                for row, streams in zip(rows, (1, 8), strict=True):
                    row.add(column, throughput(port, streams, size))
    for column, more in COLUMNS.items():
        with on_terminal(fifty, words, *more, **place.environment) as (_, process):
            idle.add(column, idle_cpu(process))
    return [table("The panel", list(COLUMNS), [*rows, idle])]


def drain(fd: int) -> None:
    try:
        while os.read(fd, 65536):
            pass
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
    """Percent of a core that the supervisor itself uses, without its kubectls."""
    before = cpu_time([process])
    time.sleep(IDLE)
    return (cpu_time([process]) - before) / IDLE * 100
