"""The matrix of faults: what each does to the cluster, and what a user then sees. docs/reliability.md shows it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from kpf_supervise.sandbox import Timing
from kpf_supervise.sandbox.watch import End
from tests.faults.scene import ALL, New, Open, Scene, answer
from tests.program import get


@dataclass(frozen=True)
class Fault:
    """`told` is an event and a part of its text, reported for the forwards in `whom`. `kubectls` is the first affected
    kubectl version and the first no longer affected; with others nothing is reported and all connections continue."""

    name: str
    happens: Callable[[Scene], Awaitable[None]]
    new: New
    open: Open
    told: tuple[str, str] | None = None
    whom: tuple[str, ...] = ALL
    target: str = "service/web"
    kubectls: tuple[tuple[int, int], tuple[int, int]] = ((1, 0), (9, 0))
    note: str = ""
    notice: str = ""  # part of a notice, if no forward reports the fault
    # a pod that goes works on for so long: the news of it takes its time on a busy machine
    timing: Timing = field(default_factory=lambda: Timing(terminate=1))


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
    await get(scene.ports["idle"])  # a missing answer is a sign only after an earlier answer
    scene.cluster.lose_tunnels()
    async with trio.open_nursery() as nursery:
        for port in (scene.ports["idle"], scene.ports["open"]):
            nursery.start_soon(get, port)
        await scene.told("moved", "nothing has come back", *ALL)
        nursery.cancel_scope.cancel()


async def lose_connections(scene: Scene) -> None:
    await trio.sleep(1)  # a few bookmarks, to learn how long this server stays silent
    scene.cluster.lose_connections()


async def lose_connections_of_a_retiring_tunnel(scene: Scene) -> None:
    await lose_readiness(scene)
    await scene.told("moved", "is not ready → ", *ALL)
    await lose_connections(scene)


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
    await trio.sleep(0.5)  # duration of the freeze
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


async def kill_reading(scene: Scene) -> None:
    for process in scene.instance.kubectls("proxy"):
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
        await trio.sleep(1)  # until all buffers in between are full
        assert await get(scene.ports["open"])


MOVED = "moved"
TRIED = "reconnecting"
# Played one after the other, on a running instance.
GROUPS = {
    "pods": [
        Fault("its pod is deleted", delete, New.HELD, Open.ENDS, (MOVED, "is terminating → ")),
        Fault("its pod is not ready any more", lose_readiness, New.HELD, Open.STAYS, (MOVED, "is not ready → ")),
        Fault("a rollout", roll_out, New.HELD, Open.ENDS, (MOVED, "is terminating → ")),  # replaces that pod, too
        Fault("its container crashes", crash, New.UNDER_WAY, Open.ENDS, (MOVED, " → ")),
        Fault(
            "the next pod's tunnel is refused for a while",
            refuse_upgrades,
            New.HELD,
            Open.STAYS,
            (TRIED, "would not open the tunnel"),
            note="after 1 s of holding, by the old pod",
        ),
        Fault(
            "the only pod of a stateful set is deleted",
            delete,
            New.HELD,
            Open.ENDS,
            ("waiting", "has no ready pod: pod db-0 is terminating"),
            target="statefulset/db",
        ),
    ],
    "tunnels": [
        Fault("kubectl is killed", kill_kubectls, New.UNDER_WAY, Open.ENDS, (TRIED, "kubectl was killed by signal 9")),
        Fault(
            "kubelet or API server drop the tunnel", cut_tunnels, New.UNDER_WAY, Open.ENDS, (TRIED, "lost connection")
        ),
        Fault(
            "the pod resets one connection (kubectl from 1.27 on ends)",
            reset_one,
            New.UNDER_WAY,
            Open.ENDS,
            (TRIED, "the pod reset one connection"),
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
    ],
    "dead connections": [
        Fault(
            "all connections die without an end (sleep, VPN)",
            lose_connections,
            New.UNDER_WAY,
            Open.HANGS,
            (TRIED, "nothing comes from the API server any more"),
            note="noticed by the clock 5 s after sleep, else within 15 s",
            timing=Timing(bookmark=0.2),
        ),
        Fault(
            "all connections die while a tunnel is retiring",
            lose_connections_of_a_retiring_tunnel,
            New.UNDER_WAY,
            Open.HANGS,
            (TRIED, "nothing comes from the API server any more"),
            note="noticed as above",
            timing=Timing(bookmark=0.2),
        ),
    ],
    "API server": [
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
    ],
    "reading": [
        Fault("the watch ends in order", end_watches("clean"), New.SERVED, Open.STAYS),
        Fault("the watch is cut", end_watches("abrupt"), New.SERVED, Open.STAYS),
        Fault("the watch is too old (410)", end_watches("expired"), New.SERVED, Open.STAYS),
        Fault(
            "the kubectl that reads is killed",
            kill_reading,
            New.SERVED,
            Open.STAYS,
            notice="reads from the API server was killed",
        ),
        Fault("the keeper is killed", kill_keeper, New.HELD, Open.STAYS, (MOVED, "its keeper was killed → ")),
    ],
}
FAULTS = [fault for faults in GROUPS.values() for fault in faults]


def row(fault: Fault) -> str:
    """The fault's row in docs/reliability.md."""
    event, text = fault.told or ("notice", fault.notice)
    told = f"`{event}`: …{text.strip()}…" if text else "–"
    new = f"{fault.new} ({fault.note})" if fault.note else fault.new
    return f"| {fault.name} | {new} | {fault.open} | {told} |"
