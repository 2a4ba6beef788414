"""Each fault × each kubectl × (idle, an open connection, new connections arriving): what the clients saw, what the user
was told, and that all three forwards recovered. The table of faults in docs/reliability.md is made of the rows here."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import pytest
import trio

from kpf_supervise.sandbox import Cluster, Timing, open_cluster
from kpf_supervise.sandbox.watch import End
from tests.kubectls import Kubectl
from tests.program import Instance, get, supervising

ALL = ("idle", "open", "new")
GET = b"GET / HTTP/1.1\r\nHost: sandbox\r\n\r\n"


class New(StrEnum):
    """What becomes of connections that come meanwhile."""

    SERVED = "served"
    HELD = "held, then served"
    UNDER_WAY = "held, then served; what was under way breaks"


class Open(StrEnum):
    """What becomes of a connection that was open."""

    STAYS = "goes on"
    ENDS = "ends with it"
    WAITS = "waits for the one that reads nothing"
    HANGS = "is ended after 30 s"  # shown in test_e2e_crew


@dataclass
class Scene:
    """What a fault may touch. `pod` is the one in use, `ports` are the local ones."""

    cluster: Cluster
    instance: Instance
    pod: str
    ports: dict[str, int]
    over: float | None = None  # since when the fault can break nothing any more, where it does so after it was told

    async def told(self, event: str, text: str, *forwards: str) -> None:
        """Until each of these forwards (none: somebody) was told so."""

        def heard(forward: str | None) -> bool:
            return any(
                each["event"] == event and text in each["message"] and forward in (None, each.get("forward"))
                for each in self.instance.events
            )

        try:
            await self.instance.told(lambda: all(heard(forward) for forward in forwards or (None,)))
        except trio.TooSlowError:
            lines = "\n".join(map(str, self.instance.events))
            raise AssertionError(f"nobody was told {event}: {text}. Told was:\n{lines}") from None


@dataclass(frozen=True)
class Fault:
    """`told` is an event and a part of its text, of the forwards in `whom`; with a kubectl outside of `kubectls` (the
    first that has it, the first that has it no more) nothing is told and all goes on."""

    name: str
    happens: Callable[[Scene], Awaitable[None]]
    new: New
    open: Open
    told: tuple[str, str] | None = None
    whom: tuple[str, ...] = ALL
    target: str = "service/web"
    kubectls: tuple[tuple[int, int], tuple[int, int]] = ((1, 0), (9, 0))
    note: str = ""
    notice: str = ""  # part of one, where it is not the forwards that are told
    timing: Timing = field(default_factory=lambda: Timing(terminate=0.3))


async def delete(scene: Scene) -> None:
    scene.cluster.delete_pod(scene.pod)


async def roll_out(scene: Scene) -> None:
    scene.cluster.rollout_restart("deployment/web")


async def crash(scene: Scene) -> None:
    scene.cluster.restart_container(scene.pod)


async def lose_readiness(scene: Scene) -> None:
    scene.cluster.set_ready(scene.pod, False)


async def kill_kubectls(scene: Scene) -> None:
    for process in scene.instance.kubectls():
        process.kill()


async def cut_tunnels(scene: Scene) -> None:
    scene.cluster.cut_tunnels()


async def lose_tunnels(scene: Scene) -> None:
    await get(scene.ports["idle"])  # only where an answer has come before, its want is a sign
    scene.cluster.lose_tunnels()
    async with trio.open_nursery() as nursery:
        for port in (scene.ports["idle"], scene.ports["open"]):
            nursery.start_soon(get, port)
        await scene.told("moved", "nothing has come back", *ALL)
        nursery.cancel_scope.cancel()


async def lose_connections(scene: Scene) -> None:
    await trio.sleep(1)  # a few bookmarks, by which it knows how long this server keeps silent
    scene.cluster.lose_connections()


async def kill_api(scene: Scene) -> None:
    await scene.cluster.stop_api()
    await scene.told("reconnecting", "as soon as the API server answers", *ALL)
    await scene.cluster.start_api()


async def stop_api_in_order(scene: Scene) -> None:
    await scene.cluster.stop_api(keep_tunnels=True)
    await scene.told("notice", "the API server does not answer")
    await scene.cluster.start_api()
    await scene.told("notice", "the API server answers again")


async def freeze_api(scene: Scene) -> None:
    scene.cluster.pause_api()
    await trio.sleep(0.5)  # how long it lasts
    scene.cluster.resume_api()


def fail_requests(status: int, notice: str) -> Callable[[Scene], Awaitable[None]]:
    async def fail(scene: Scene) -> None:
        scene.cluster.faults.answer(status)
        scene.cluster.end_watches()
        await scene.told("notice", notice)
        scene.cluster.faults.clear()
        await scene.told("notice", "the API server answers again")

    return fail


async def kill_keeper(scene: Scene) -> None:
    (keeper,) = [each for each in scene.instance.children() if each.name() == "sh"]
    keeper.kill()


def end_watches(how: End) -> Callable[[Scene], Awaitable[None]]:
    async def end(scene: Scene) -> None:
        scene.cluster.end_watches(how)

    return end


async def kill_watch(scene: Scene) -> None:
    for process in scene.instance.kubectls("get"):
        process.kill()


async def refuse_upgrades(scene: Scene) -> None:
    scene.cluster.faults.refuse_upgrade(503)
    scene.cluster.set_ready(scene.pod, False)
    await scene.told("reconnecting", "would not open the tunnel", *ALL)
    scene.cluster.faults.clear()
    await scene.told("moved", "", *ALL)


async def reset_one(scene: Scene) -> None:
    scene.cluster.faults.port_error(8080, "writeto tcp 10.0.0.1:8080: read: connection reset by peer")
    async with await trio.open_tcp_stream("127.0.0.1", scene.ports["open"]) as stream:
        assert await answer(stream) == b""
    scene.cluster.faults.clear()
    scene.over = time.time()


async def break_download_off(scene: Scene) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", scene.ports["new"])
    await stream.send_all(b"GET /bytes/50000000 HTTP/1.1\r\nHost: sandbox\r\n\r\n")
    await stream.receive_some()
    await trio.aclose_forcefully(stream)


async def read_nothing(scene: Scene) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", scene.ports["open"]) as stream:
        await stream.send_all(b"GET /bytes/500000000 HTTP/1.1\r\nHost: sandbox\r\n\r\n")
        await stream.receive_some()
        await trio.sleep(1)  # until all buffers on the way are full
        assert await get(scene.ports["open"])


MOVED = "moved"
TRIED = "reconnecting"
FAULTS = [
    Fault("its pod is deleted", delete, New.HELD, Open.ENDS, (MOVED, "is terminating → ")),
    Fault("a rollout", roll_out, New.HELD, Open.ENDS, (MOVED, "is terminating → ")),
    Fault(
        "the only pod of a stateful set is deleted",
        delete,
        New.HELD,
        Open.ENDS,
        ("waiting", "has no ready pod: pod db-0 is terminating"),
        target="statefulset/db",
    ),
    Fault("its container crashes", crash, New.UNDER_WAY, Open.ENDS, (MOVED, " → ")),
    Fault("its pod is not ready any more", lose_readiness, New.HELD, Open.STAYS, (MOVED, "is not ready → ")),
    Fault(
        "the next pod's tunnel is refused for a while",
        refuse_upgrades,
        New.HELD,
        Open.STAYS,
        (TRIED, "would not open the tunnel"),
        note="after 1 s of holding, by the old pod",
    ),
    Fault("kubectl is killed", kill_kubectls, New.UNDER_WAY, Open.ENDS, (TRIED, "kubectl was killed by signal 9")),
    Fault("kubelet or API server drop the tunnel", cut_tunnels, New.UNDER_WAY, Open.ENDS, (TRIED, "lost connection")),
    Fault(
        "the pod resets one connection (kubectl from 1.27 on ends)",
        reset_one,
        New.UNDER_WAY,
        Open.ENDS,
        (TRIED, "the pod broke one connection off"),
        whom=("open",),
        kubectls=((1, 27), (9, 0)),
    ),
    Fault(
        "a client breaks a download off (kubectl before 1.32 may hang)",
        break_download_off,
        New.HELD,
        Open.STAYS,
        (MOVED, "a client broke a download off"),
        whom=("new",),
        kubectls=((1, 0), (1, 32)),
    ),
    Fault(
        "a client reads nothing (its kubectl stalls)",
        read_nothing,
        New.HELD,
        Open.WAITS,
        (MOVED, "a client reads nothing"),
        whom=("open",),
    ),
    Fault(
        "the tunnel dies without an end",
        lose_tunnels,
        New.UNDER_WAY,
        Open.HANGS,
        (MOVED, "nothing has come back for 5 s"),
        note="noticed 5 s after a connection that got no answer",
    ),
    Fault(
        "all connections die without an end (sleep, VPN)",
        lose_connections,
        New.UNDER_WAY,
        Open.HANGS,
        (MOVED, "connections to the API server had died"),
        note="noticed by the clock within 5 s, or by the watch (92 s)",
        timing=Timing(bookmark=0.2),
    ),
    Fault(
        "the API server is gone, and comes back",
        kill_api,
        New.UNDER_WAY,
        Open.ENDS,
        (TRIED, "as soon as the API server answers"),
    ),
    Fault(
        "the API server stops in order, and comes back",
        stop_api_in_order,
        New.SERVED,
        Open.STAYS,
        notice="the API server does not answer",
    ),
    Fault(
        "the API server answers 5xx for a while",
        fail_requests(503, "the API server is in trouble"),
        New.SERVED,
        Open.STAYS,
        notice="the API server is in trouble",
    ),
    Fault(
        "your login expires for a while (401)",
        fail_requests(401, "does not accept your credentials"),
        New.SERVED,
        Open.STAYS,
        notice="does not accept your credentials",
    ),
    Fault("the API server freezes for a moment", freeze_api, New.SERVED, Open.STAYS, note="after the moment"),
    Fault("the watch ends in order", end_watches("clean"), New.SERVED, Open.STAYS),
    Fault("the watch is cut", end_watches("abrupt"), New.SERVED, Open.STAYS),
    Fault("the watch is too old (410)", end_watches("expired"), New.SERVED, Open.STAYS),
    Fault("the watch's kubectl is killed", kill_watch, New.SERVED, Open.STAYS),
    Fault("the keeper is killed", kill_keeper, New.HELD, Open.STAYS, (MOVED, "its keeper was killed → ")),
]


def row(fault: Fault) -> str:
    """Its line in the README."""
    event, text = fault.told or ("notice", fault.notice)
    told = f"`{event}`: …{text.strip()}…" if text else "–"
    new = f"{fault.new} ({fault.note})" if fault.note else fault.new
    return f"| {fault.name} | {new} | {fault.open} | {told} |"


async def answer(stream: trio.SocketStream) -> bytes:
    """Of the kept connection: what it gives to one more request, b"" where it has ended."""
    try:
        await stream.send_all(GET)
        with trio.fail_after(10):
            return bytes(await stream.receive_some())
    except trio.BrokenResourceError:
        return b""


@dataclass
class Visitors:
    """Clients that open a connection every 20 ms: when each began, and whether it was answered (None: not yet)."""

    port: int
    seen: dict[float, bool | None] = field(default_factory=dict)
    refused: int = 0
    news: trio.Event = field(default_factory=trio.Event)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self._visit)
                await trio.sleep(0.02)

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


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_fault(fault: Fault, kubectl: Kubectl, tmp_path: Path) -> None:
    with trio.fail_after(40):
        await play(fault, kubectl, tmp_path)


async def play(fault: Fault, kubectl: Kubectl, tmp_path: Path) -> None:
    config = "defaults: {reconnect: {attempts: unlimited, initial: 50ms, max: 200ms}}\nforwards:\n" + "".join(
        f'  {name}: {{target: {fault.target}, ports: ":http"}}\n' for name in ALL
    )
    first, no_more = fault.kubectls
    told = fault.told if first <= kubectl.version[:2] < no_more else None
    async with open_cluster(tmp_path, fault.timing) as cluster:
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
            await instance.all_active(*ALL)
            pod = next(event["pod"] for event in instance.events if event["event"] == "active")
            scene = Scene(cluster, instance, pod, {name: instance.port(name) for name in ALL})
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
                    assert touched or instance.kinds(name) == ["connecting", "active"], name

                # new connections: none refused, and none lost but what was under way
                await visitors.served(10, time.time())
                assert visitors.refused == 0
                lost = [begun for begun, good in visitors.seen.items() if good is False]
                if fault.new is New.UNDER_WAY:
                    over = scene.over or noticed(instance)
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
            await instance.told(lambda: all(instance.kinds(name)[-1] in ("active", "moved") for name in ALL))
            before = len(instance.events)
            cluster.delete_pod((await get(scene.ports["idle"])).decode().strip())
            await instance.told(
                lambda: {"idle"} <= {each.get("forward") for each in instance.events[before:] if each["event"] == MOVED}
            )
            assert await get(scene.ports["idle"])


def noticed(instance: Instance) -> float:
    """When the forward of the new connections was last found not to be green."""
    return max(
        datetime.fromisoformat(each["time"]).timestamp()
        for each in instance.events
        if each.get("forward") == "new" and each["event"] not in ("active", "moved")
    )
