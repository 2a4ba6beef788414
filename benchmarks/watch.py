"""A namespace with 2,000 pods and 100 events a second: how far kpf-supervise lags behind, and what it costs."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime

import psutil
import trio

from kpf_supervise.sandbox import Cluster, content, open_cluster
from tests.program import Instance, supervising

from .measure import Row, cpu_time, memory, table
from .tools import Place

PODS, RATE = 2000, 100  # events a second
STREAM = 10.0  # seconds of events in total, and as many of quiet
CONFIG = "forwards: {it: {target: deployment/web, ports: ':http'}}\n"
COLUMNS = SMALL, QUIET, BUSY = ("5 pods, quiet", "2,000 pods, quiet", "2,000 pods, 100 events/s")


async def churn(cluster: Cluster, names: list[str]) -> None:
    """Make RATE changes a second; each makes a pod unready or ready again. Never returns."""
    begun, number = trio.current_time(), 0
    while True:
        cluster.set_ready(names[number // 2 % len(names)], ready=bool(number % 2))
        number += 1
        await trio.sleep_until(begun + number / RATE)


async def deletion(cluster: Cluster, instance: Instance) -> list[float]:
    """Delete the pod in use. Milliseconds until kpf-supervise sees it terminating, and until the forward has moved."""
    await cluster.settled()
    async with instance.peer() as peer:
        pod = (await peer.list())["it"]["pod"]
    instance.read = len(instance.events)
    begun = time.time()
    cluster.delete_pod(pod)
    events = [await instance.until(event, "it") for event in ("connecting", "moved")]
    return [(datetime.fromisoformat(event["time"]).timestamp() - begun) * 1000 for event in events]


async def tables(place: Place, rounds: int) -> list[str]:
    knew = Row("pod in use deleted → it is known", "ms", compared=False)
    moved = Row("pod in use deleted → moved to another one", "ms")
    ours = Row("CPU of the supervisor, % of a core", "", compared=False)
    streaming = Row("CPU of the kubectl that reads, % of a core", "", compared=False)
    memories = Row("memory of the supervisor", "MiB", compared=False)
    place = replace(place, kubeconfig=str(place.folder / "kubeconfig"))
    async with open_cluster(place.folder) as cluster, supervising(*place.supervised, CONFIG) as instance:
        await instance.all_active("it")
        supervisor = [psutil.Process(instance.process.pid)]

        async def measure(column: str) -> None:
            watch = instance.kubectls("proxy")
            before = cpu_time(supervisor), cpu_time(watch)
            await trio.sleep(STREAM / rounds)
            ours.add(column, (cpu_time(supervisor) - before[0]) * rounds / STREAM * 100)
            streaming.add(column, (cpu_time(watch) - before[1]) * rounds / STREAM * 100)
            memories.add(column, memory(supervisor))
            for row, took in zip((knew, moved), await deletion(cluster, instance), strict=True):
                row.add(column, took)

        for _ in range(rounds):
            await measure(SMALL)
        names = content.crowd(cluster.store, PODS)
        cluster.end_watches("expired")  # forces a new list of all pods
        await trio.sleep(2)
        for turn in range(rounds):
            for column in (QUIET, BUSY) if turn % 2 else (BUSY, QUIET):
                async with trio.open_nursery() as nursery:
                    if column == BUSY:
                        nursery.start_soon(churn, cluster, names)
                    await measure(column)
                    nursery.cancel_scope.cancel()
    return [table("The watch of a large namespace", COLUMNS, [knew, moved, ours, streaming, memories])]
