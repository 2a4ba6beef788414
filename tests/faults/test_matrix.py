"""Each fault × kubectl × (idle, an open connection, new connections arriving): what the clients saw, what the user
was told, and that all three forwards recovered. The table of faults in docs/reliability.md is made of the rows here."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import pytest
import trio

from kpf_supervise.sandbox import open_cluster
from tests.conftest import ENDS
from tests.faults.matrix import GROUPS, MOVED, Fault
from tests.faults.scene import ALL, New, Open, Scene, answer
from tests.kubectls import KUBECTLS, Kubectl
from tests.program import get, supervising


@dataclass
class Visitors:
    """Clients that open a connection every 80 ms: when each began, and whether it was answered (None: not yet)."""

    port: int
    seen: dict[float, bool | None] = field(default_factory=dict)
    refused: int = 0
    news: trio.Event = field(default_factory=trio.Event)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self._visit)
                await trio.sleep(0.08)

    async def _visit(self) -> None:
        begun = time.time()
        self.seen[begun] = None
        try:
            self.seen[begun] = bool(await get(self.port))
        except OSError:
            self.refused += 1
        self.news.set()
        self.news = trio.Event()

    async def served(self, count: int, since: float = 0.0) -> None:
        """Until so many of those that began after `since` were answered."""
        with trio.fail_after(40):
            while sum(good is True for begun, good in self.seen.items() if begun >= since) < count:
                await self.news.wait()


# What is read comes through `kubectl proxy`, which is alike in all versions: the oldest and the newest show it.
READ = {"API server", "reading"}
PLAYED = [(kubectl, group) for kubectl in KUBECTLS for group in GROUPS if group not in READ or kubectl in ENDS]


@pytest.mark.long
@pytest.mark.parametrize(("kubectl", "group"), PLAYED, ids=lambda value: getattr(value, "label", value))
async def test_faults(group: str, kubectl: Kubectl, tmp_path: Path) -> None:
    """Those of a group happen one after the other to the same instance."""
    for (target, timing), faults in groupby(GROUPS[group], key=lambda fault: (fault.target, fault.timing)):
        config = "defaults: {reconnect: {attempts: unlimited, initial: 50ms, max: 200ms}}\nforwards:\n" + "".join(
            f'  {name}: {{target: {target}, ports: ":http"}}\n' for name in ALL
        )
        async with open_cluster(tmp_path, timing) as cluster:
            async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
                await instance.all_active(*ALL)
                ports = {name: instance.port(name) for name in ALL}
                for fault in faults:
                    try:
                        with trio.fail_after(40):
                            await play(fault, kubectl, Scene(cluster, instance, ports))
                    except BaseException as error:
                        error.add_note(f"the fault: {fault.name}")
                        raise


async def play(fault: Fault, kubectl: Kubectl, scene: Scene) -> None:
    first, no_more = fault.kubectls
    told = fault.told if first <= kubectl.version[:2] < no_more else None
    pod = await scene.begin()
    visitors = Visitors(scene.ports["new"])
    async with (
        trio.open_nursery() as nursery,
        await trio.open_tcp_stream("127.0.0.1", scene.ports["open"]) as opened,
    ):
        assert pod.encode() in await answer(opened)
        nursery.start_soon(visitors.run)
        await visitors.served(5)
        await fault.happens(scene)

        # what the user was told
        if told is not None:
            await scene.told(*told, *fault.whom)
        for name in set(ALL) - set(fault.whom if told else ()):
            touched = name == "new" and fault.new is New.UNDER_WAY  # its visitors meet the fault too
            assert touched or scene.kinds(name) == [], name

        # new connections: none refused, and none lost but what was under way
        await visitors.served(10, time.time())
        assert visitors.refused == 0
        lost = [begun for begun, good in visitors.seen.items() if good is False]
        if fault.new is New.UNDER_WAY:
            over = scene.over or scene.noticed()
            assert [begun for begun in lost if begun > over] == []
        else:
            assert lost == []

        # the open one
        expected = fault.open if told or fault.told is None else Open.STAYS
        if expected is Open.STAYS:
            assert pod.encode() in await answer(opened)
        elif expected is Open.ENDS:
            with trio.fail_after(10), suppress(trio.BrokenResourceError):
                assert await opened.receive_some() == b""
        nursery.cancel_scope.cancel()

    # and all are as before: with a good kubectl, active, and followed to the next pod
    for port in scene.ports.values():
        assert await get(port)
    pod = await scene.on_one_pod()
    before = len(scene.events)
    scene.cluster.delete_pod(pod)
    await scene.instance.told(
        lambda: {"idle"} <= {each.get("forward") for each in scene.events[before:] if each["event"] == MOVED}
    )
    assert await get(scene.ports["idle"])
