"""A hundred forwards, and thousands of connections through one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psutil

from kpf_supervise.primitives.open_files import raise_limit

from .measure import Row, cpu_time, family, memory, table
from .tools import OURS, RAW, Place
from .transfer import new_connections

FORWARDS = 100
AT_ONCE, IN_TURN = 1000, 10_000  # connections
IDLE = 10.0  # seconds
SETTLE = 10.0  # seconds for descriptors to be closed


@contextmanager
def instance(place: Place, count: int, state: str, more: str = "") -> Iterator[tuple[psutil.Process, list[int]]]:
    """Run kpf-supervise with `count` forwards. Yields it and the local ports once all have reported `state`."""
    lines = [f"  f{n}: {{target: {place.target_of(n)}, ports: ':{place.port}'{more}}}\n" for n in range(count)]
    config = place.folder / "many.yaml"
    config.write_text(f"namespace: {place.namespace}\nforwards:\n{''.join(lines)}")
    words = [str(config), f"--kubectl={place.kubectl}", "--log-format=json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "kpf_supervise", *words], env=place.environment, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        told: dict[str, int] = {}
        while len(told) < count:
            event = json.loads(process.stderr.readline())
            if event["event"] == state:
                told[event["forward"]] = event["port"]
        yield psutil.Process(process.pid), [told[f"f{n}"] for n in range(count)]
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def hundred_kubectls(place: Place) -> Iterator[list[psutil.Process]]:
    """Run FORWARDS raw kubectls, with as many starting at a time as in kpf-supervise."""
    environment = place.environment
    with ExitStack() as stack, ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:

        def start(number: int) -> psutil.Process:
            [command] = RAW.commands(place, [0])
            command[-2:] = [place.target_of(number), f":{place.port}"]
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
            stack.callback(process.communicate)
            stack.callback(process.terminate)
            assert process.stdout is not None
            assert b"Forwarding" in process.stdout.readline()
            return psutil.Process(process.pid)

        yield list(pool.map(start, range(FORWARDS)))


def tables(place: Place, rounds: int) -> list[str]:
    starts = Row(f"exec → all {FORWARDS} active", "s")
    total = Row("memory, kubectls included", "MiB")
    alone = Row("memory of the supervisor alone", "MiB", compared=False)
    idle = Row("CPU while idle, supervisor and kubectls, % of a core", "", compared=False)
    columns = f"{FORWARDS} × {RAW.name}", OURS.name
    title = f"{FORWARDS} forwards{' of as many services' if place.several else ''}"
    for _ in range(rounds):
        begun = time.perf_counter()
        with hundred_kubectls(place) as kubectls:
            starts.add(columns[0], time.perf_counter() - begun)
            total.add(columns[0], memory(kubectls))
        begun = time.perf_counter()
        with instance(place, FORWARDS, "active") as (supervisor, _):
            starts.add(OURS.name, time.perf_counter() - begun)
            total.add(OURS.name, memory(family(supervisor.pid)))
            alone.add(OURS.name, memory([supervisor]))
            used = cpu_time(family(supervisor.pid))
            time.sleep(IDLE / rounds)
            idle.add(OURS.name, (cpu_time(family(supervisor.pid)) - used) / IDLE * rounds * 100)
    return [table(title, columns, [starts, total, alone, idle]), lazy(place, rounds), busy(place)]


def lazy(place: Place, rounds: int) -> str:
    processes = Row("kubectl processes (one watches pods)", "")
    alone, idle = Row("memory of the supervisor alone", "MiB"), Row("CPU of the supervisor, % of a core", "")
    first = Row("first connection → first byte; raw kubectl: its own start → first byte", "ms")
    with instance(place, FORWARDS, "idle", ", lazy: true") as (supervisor, ports):
        time.sleep(2)
        for _ in range(rounds):
            kubectls = [each for each in family(supervisor.pid)[1:] if "kubectl" in each.name()]
            used = cpu_time([supervisor])
            time.sleep(IDLE / rounds)
            for row, figure in (
                (processes, len(kubectls)),
                (alone, memory([supervisor])),
                (idle, (cpu_time([supervisor]) - used) / IDLE * rounds * 100),
            ):
                row.add(OURS.name, figure)
        for port in ports[:rounds]:
            begun = time.perf_counter()
            with RAW.running(place):
                first.add(RAW.name, (time.perf_counter() - begun) * 1000)
            first.add(OURS.name, new_connections(port, 1)[0])
    return table(f"{FORWARDS} lazy forwards, idle", [RAW.name, OURS.name], [processes, alone, idle, first])


def busy(place: Place) -> str:
    """File descriptors of the supervisor before, during and after many connections."""
    raise_limit()
    columns = ["before", "open", "after"]
    descriptors = Row(f"{AT_ONCE} connections at once: file descriptors", "", compared=False)
    turns = Row(f"{IN_TURN} connections in turn: file descriptors", "", compared=False)
    memories = Row("memory of the supervisor", "MiB", compared=False)
    with instance(place, 1, "active") as (supervisor, [port]):
        new_connections(port, 10)
        rest = supervisor.num_fds()
        descriptors.add("before", rest)
        memories.add("before", memory([supervisor]))
        with ExitStack() as stack:
            for _ in range(AT_ONCE):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                connection.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
                assert connection.recv(1)
            descriptors.add("open", supervisor.num_fds())
            memories.add("open", memory([supervisor]))
        descriptors.add("after", settled(supervisor, rest))
        turns.add("before", supervisor.num_fds())
        new_connections(port, IN_TURN)
        turns.add("after", settled(supervisor, rest))
        memories.add("after", memory([supervisor]))
    return table("Through one forward", columns, [descriptors, turns, memories])


def settled(process: psutil.Process, wanted: int) -> int:
    """Its number of descriptors, once it is down to `wanted` or after SETTLE seconds."""
    give_up = time.monotonic() + SETTLE
    while process.num_fds() > wanted and time.monotonic() < give_up:
        time.sleep(0.05)
    return process.num_fds()
