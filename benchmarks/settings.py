"""The effect of the settings of a forward and its kubectls on memory and throughput, with and without cores to
spare."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from .measure import Row, family, memory, table
from .tools import OURS, RAW, SETTINGS, SPREAD, Place
from .transfer import in_turn, throughput

STREAMS = 8
SHARE, PERIOD = 0.15, 10_000  # of a core, so that five kubectls can't use up two cores; microseconds
SETTLE = 10.0  # seconds for the additional kubectls to start
CGROUPS = Path("/sys/fs/cgroup")


@contextmanager
def held_back(processes: Iterable[psutil.Process]) -> Iterator[None]:
    """Limit each to SHARE of a core in the block. Raises OSError where that fails: it takes Linux and root."""
    second = (CGROUPS / "cgroup.controllers").exists()
    names = {"cpu.max": f"{SHARE * PERIOD:.0f} {PERIOD}"}
    if not second:
        names = {"cpu.cfs_period_us": f"{PERIOD}", "cpu.cfs_quota_us": f"{SHARE * PERIOD:.0f}"}
    with ExitStack() as stack:
        for process in processes:
            folder = CGROUPS / ("" if second else "cpu") / f"kpf-bench-{process.pid}"
            folder.mkdir()
            stack.callback(folder.rmdir)
            for name, text in (names | {"cgroup.procs": f"{process.pid}"}).items():
                (folder / name).write_text(text)
            stack.callback((folder.parent / "cgroup.procs").write_text, f"{process.pid}")
        yield


def forwards(process: psutil.Process) -> bool:
    try:
        return "port-forward" in process.cmdline()
    except psutil.Error:  # it has exited
        return False


def kubectls(pid: int, count: int) -> list[psutil.Process]:
    """The port-forward processes, once there are `count` or SETTLE seconds have passed."""
    give_up = time.monotonic() + SETTLE
    while True:
        found = [process for process in family(pid) if forwards(process)]
        if len(found) >= count or time.monotonic() > give_up:
            return found
        time.sleep(0.05)


def tables(place: Place, rounds: int, size: int) -> tuple[list[str], list[str]]:
    """The tables, and notes."""
    memories = Row("memory of one idle kubectl", "MiB")
    downloads = {streams: Row(f"download, {streams} stream{'s' * (streams > 1)}", "MB/s") for streams in (1, STREAMS)}
    held = Row(f"{STREAMS} streams, each kubectl held to {SHARE:.0%} of a core", "MB/s")
    tools, notes = [RAW, OURS, *SETTINGS], []
    with ExitStack() as stack:
        port, found = {}, {}
        for tool in tools:
            ports, pids = stack.enter_context(tool.running(place))
            port[tool.name] = ports[0]
            found[tool.name] = kubectls(pids[0], 5 if tool is SPREAD else 1)
        for tool in tools:
            memories.add(tool.name, memory(found[tool.name][:1]))
        for turn in range(rounds):
            for streams, row in downloads.items():
                for tool in in_turn(tools, turn):
                    row.add(tool.name, throughput(port[tool.name], streams, size))
        try:
            with held_back([each for some in found.values() for each in some]):
                for turn in range(rounds):
                    for tool in in_turn(tools, turn):
                        held.add(tool.name, throughput(port[tool.name], STREAMS, size // 3))
        except OSError as error:
            notes.append(f"no kubectl could be held back ({error}): that takes root on Linux, with cgroups")
    rows = [memories, *downloads.values(), *([held] if held.figures else [])]
    return [table("Settings", [tool.name for tool in tools], rows)], notes
