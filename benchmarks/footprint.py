"""The cost of ten idle forwards, and the processes left behind by a kill -9."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress

import psutil

from .measure import Row, cpu_time, family, memory, table
from .tools import Place, Tool

FORWARDS = 10
IDLE = 10.0  # seconds over which CPU time is measured
GRACE = 2.0  # seconds after a kill -9


def tables(place: Place, tools: Sequence[Tool], rounds: int) -> list[str]:
    memories = Row(f"memory for each of {FORWARDS} forwards, kubectls included", "MiB")
    idle = Row(f"CPU of {FORWARDS} idle forwards, % of a core", "", compared=False)
    orphans = Row("processes left after a kill -9 of the tool", "", compared=False)
    with ExitStack() as stack:
        pids = {}
        for tool in tools:
            with suppress(TimeoutError):  # a tool that can't run so many
                pids[tool.name] = stack.enter_context(tool.running(place, FORWARDS))[1]
        families = {name: [each for pid in some for each in family(pid)] for name, some in pids.items()}
        for _ in range(rounds):  # all idle at the same time
            before = {name: cpu_time(processes) for name, processes in families.items()}
            time.sleep(IDLE / rounds)
            for name, processes in families.items():
                idle.add(name, (cpu_time(processes) - before[name]) / IDLE * rounds * 100)
                memories.add(name, memory(processes) / FORWARDS)
        for some in pids.values():
            for pid in some:
                os.kill(pid, signal.SIGKILL)
        time.sleep(GRACE)
        for name, processes in families.items():
            left = [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
            orphans.add(name, len(left))
            for each in left:
                each.kill()
    return [table(f"{FORWARDS} forwards", [tool.name for tool in tools], [memories, idle, orphans])]
