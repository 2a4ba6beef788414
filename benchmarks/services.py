"""What whole namespaces cost: a thousand ports of services beside a few."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from .measure import Row, cpu_time, family, memory, table
from .tools import Place

EACH = 2  # ports of a service
FEW, MANY = 2, 500  # services
IDLE = 10.0  # seconds


@contextmanager
def instance(place: Place, services: int) -> Iterator[psutil.Process]:
    """Run kpf-supervise with the services that lead where the service web does. Yields it once all are listed."""
    config = place.folder / "services.yaml"
    config.write_text(f"services: [{{namespace: {place.namespace}, selector: app=web, local: free}}]\n")
    words = [str(config), f"--kubectl={place.kubectl}", "--log-format=json"]
    command = [sys.executable, "-m", "kpf_supervise", *words]
    with subprocess.Popen(command, env=place.environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            wanted = f"{services} services, {services * EACH} ports"
            while wanted not in json.loads(process.stderr.readline())["message"]:
                pass
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.communicate()


def measured(place: Place, services: int, column: str, rows: dict[str, Row], rounds: int) -> None:
    begun = time.perf_counter()
    with instance(place, services) as supervisor:
        rows["start"].add(column, time.perf_counter() - begun)
        rows["work"].add(column, cpu_time([supervisor]))
        rows["memory"].add(column, memory([supervisor]))
        kubectls = [each for each in family(supervisor.pid)[1:] if "kubectl" in each.name()]
        rows["kubectls"].add(column, len(kubectls))
        used = cpu_time([supervisor])
        time.sleep(IDLE / rounds)
        rows["idle"].add(column, (cpu_time([supervisor]) - used) / IDLE * rounds * 100)


def tables(place: Place, few: Place, rounds: int) -> list[str]:
    """`place` has MANY services, `few` has FEW."""
    rows = {
        "start": Row("exec → all listed and bound", "s"),
        "work": Row("CPU time of the supervisor until then", "s"),
        "memory": Row("memory of the supervisor", "MiB"),
        "kubectls": Row("kubectl processes (it reads the cluster)", "", compared=False),
        "idle": Row("CPU of the supervisor while idle, % of a core", "", compared=False),
    }
    columns = [f"{count * EACH} ports" for count in (FEW, MANY)]
    for _ in range(rounds):
        measured(few, FEW, columns[0], rows, rounds)
        measured(place, MANY, columns[1], rows, rounds)
    return [table("Whole namespaces (`services`)", columns, list(rows.values()))]
