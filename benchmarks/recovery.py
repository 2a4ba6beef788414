"""The effect on clients when pods go: requests lost, the longest gap, and the time until a new pod serves."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import pairwise

import trio

from kpf_supervise.sandbox import Cluster, Timing, open_cluster, pod_status
from tests.program import supervising

from .measure import Row, table
from .tools import LOOP, OURS, RAW, Place, Tool

EVERY = 0.02  # seconds between clients
LOST = 5.0  # seconds after which a request counts as lost
STEADY = 0.5  # seconds of load before the event
REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Victim:
    """The deployment behind the place's target. Its pods are back within `after` seconds."""

    name: str = "web"
    after: float = 4.5

    def events(self, place: Place) -> dict[str, list[str]]:
        """The events, and the kubectl arguments that cause each."""
        labels = json.loads(
            kubectl(place, "get", f"deployment/{self.name}", "-o=jsonpath={.spec.selector.matchLabels}")
        )
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        return {
            "all pods of the service deleted": ["delete", "pod", "-l", selector, "--wait=false"],
            "rollout": ["rollout", "restart", f"deployment/{self.name}"],
        }

    def settle(self, place: Place) -> None:
        kubectl(place, "rollout", "status", f"deployment/{self.name}", "--timeout=120s")


def kubectl(place: Place, *words: str) -> bytes:
    """Return kubectl's stdout. Raises CalledProcessError."""
    command = [place.kubectl, f"--namespace={place.namespace}", *words]
    return subprocess.run(command, env=place.environment, stdout=subprocess.PIPE, check=True).stdout


@dataclass
class Load:
    """A client that opens a connection every EVERY seconds, `count` times, without waiting for earlier ones."""

    port: int
    count: int
    begun: float = field(default_factory=trio.current_time)
    sent: int = 0
    answered: list[float] = field(default_factory=list)  # times of the answers

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(self.count):
                await trio.sleep_until(self.begun + number * EVERY)
                self.sent += 1
                nursery.start_soon(self._request)

    async def _request(self) -> None:
        with trio.move_on_after(LOST):
            if await answered(self.port):
                self.answered.append(trio.current_time())

    @property
    def gap(self) -> float:
        """The longest time without an answer, in seconds."""
        times = [self.begun, *sorted(self.answered)]
        times.append(max(times[-1], self.begun + self.count * EVERY))
        return max(after - before for before, after in pairwise(times))


async def answered(port: int) -> bool:
    """Whether a first byte came. A real tunnel may end a second after the answer, so the end isn't awaited."""
    try:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(REQUEST)
            return bool(await stream.receive_some())
    except (OSError, trio.BrokenResourceError):
        return False


async def lost(place: Place, victim: Victim, peers: Iterable[Tool], rounds: int) -> str:
    """Run all tools under the same load and the same events, restarted for each round."""
    tools = [LOOP, OURS, *peers]
    columns = [tool.name for tool in tools]
    count = round((STEADY + victim.after) / EVERY)
    rows: list[Row] = []
    for event, words in victim.events(place).items():
        missed = Row(f"{event}: requests lost of {count}", "", compared=False)
        gaps = Row(f"{event}: longest time without an answer", "s", compared=False)
        for _ in range(rounds):
            with ExitStack() as stack:
                ports = [stack.enter_context(tool.running(place))[0][0] for tool in tools]
                loads = [Load(port, count) for port in ports]
                async with trio.open_nursery() as nursery:
                    for load in loads:
                        nursery.start_soon(load.run)
                    await trio.sleep(STEADY)
                    await trio.to_thread.run_sync(kubectl, place, *words)
            for tool, load in zip(tools, loads, strict=True):
                missed.add(tool.name, load.sent - len(load.answered))
                gaps.add(tool.name, load.gap)
            await trio.to_thread.run_sync(victim.settle, place)
        rows += [missed, gaps]
    return table("A request each 20 ms", columns, rows)


async def ready_again(cluster: Cluster, gone: str) -> None:
    """Wait until db-0 is ready with a UID other than `gone`."""
    while True:
        pod = cluster.store.find("pods", "dev", "db-0")
        if pod is not None and pod["metadata"]["uid"] != gone and pod_status.is_ready(pod):
            return
        await cluster.store.wait_past(cluster.store.version)


async def held(place: Place, rounds: int) -> str:
    """A client is held while the only pod comes back: the time from the pod's Ready to the client's first byte. For
    comparison, raw kubectl from its start to the first byte, on the same pod right after."""
    row = Row("replacement pod Ready → first byte at a held client; raw kubectl: its own start → first byte", "ms")
    config = "forwards: {it: {target: statefulset/db, ports: ':8080'}}\n"
    timing = Timing(terminate=0.05, delete=0.05)
    place = replace(place, target="pod/db-0", port="8080", kubeconfig=str(place.folder / "kubeconfig"))
    async with open_cluster(place.folder, timing) as cluster, supervising(*place.supervised, config) as ours:
        await ours.all_active("it")
        for _ in range(rounds):
            gone = cluster.pod("db-0")["metadata"]["uid"]
            cluster.delete_pod("db-0")
            await ours.until("waiting", "it")
            async with await trio.open_tcp_stream("127.0.0.1", ours.port("it")) as stream:
                await stream.send_all(REQUEST)
                await ready_again(cluster, gone)
                begun = trio.current_time()
                assert await stream.receive_some(1)
                took = trio.current_time() - begun
            begun = trio.current_time()
            await trio.to_thread.run_sync(start_raw, place)
            row.add(RAW.name, (trio.current_time() - begun) * 1000)
            row.add(OURS.name, took * 1000)
            await ours.until("moved", "it")
    return table("A pod comes back", [RAW.name, OURS.name], [row])


def start_raw(place: Place) -> None:
    with RAW.running(place):
        pass
