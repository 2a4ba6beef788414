"""A cluster that is far away, or behind a login: how long that takes, and how often one logs in."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import trio

from kpf_supervise.sandbox import Cluster, open_cluster, write_kubeconfig
from kpf_supervise.sandbox.credential_plugin import CredentialPlugin
from tests.program import supervising

from .measure import Row, table
from .recovery import EVERY, Load
from .tools import OURS, RAW, Place, Tool
from .transfer import in_turn

DISTANCE = 0.1  # seconds for a round trip
LOGIN = 1.0  # seconds for a run of the credential plugin
FORWARDS = 20
DEAD = 20.0  # seconds for which the line is dead: longer than it takes to find that out
READY = "Time to ready: exec → first byte of a GET"


async def starts(row: Row, place: Place, tools: Sequence[Tool], rounds: int, count: int = 1) -> None:
    """The time until all forwards of a tool have answered, for each tool. One that does not get there has no figure."""
    for number in range(rounds):
        for tool in in_turn(tools, number):
            with suppress(TimeoutError):
                row.add(tool.name, await trio.to_thread.run_sync(tool.time_to_ready, place, count))


async def far(place: Place, peers: Sequence[Tool], rounds: int) -> list[str]:
    tools = [RAW, OURS, *peers]
    near, distant = Row("near by", "s"), Row(f"{DISTANCE * 1000:.0f} ms of round trip", "s")
    place = replace(place, kubeconfig=str(place.folder / "kubeconfig"))
    async with open_cluster(place.folder) as cluster:
        await starts(near, place, tools, rounds)
        cluster.line.round_trip = DISTANCE
        await starts(distant, place, tools, rounds)
        cluster.line.round_trip = 0
        dead = await dead_line(cluster, place, rounds)
    return [table(READY, [tool.name for tool in tools], [near, distant]), dead]


async def dead_line(cluster: Cluster, place: Place, rounds: int) -> str:
    """The line dies while nobody uses the forwards, and comes back."""
    known = Row("the line dies → no forward is active any more", "s")
    served = Row("the line is back → first byte at a client that came meanwhile", "s")
    replaced = Row("the line is back → each forward has a fresh kubectl", "s")
    names = [f"f{number}" for number in range(FORWARDS)]
    config = "forwards:\n" + "".join(
        f"  {name}: {{target: {place.target}, ports: ':{place.port}'}}\n" for name in names
    )
    async with supervising(*place.supervised, config) as ours:
        await ours.all_active(*names)
        for _ in range(rounds):
            begun = trio.current_time()
            cluster.line.cut()
            with trio.fail_after(2 * DEAD):
                await ours.all_last("reconnecting", *names)
            known.add(OURS.name, trio.current_time() - begun)
            await trio.sleep_until(begun + DEAD)
            async with trio.open_nursery() as nursery:
                client = Load(ours.port("f0"), count=1)
                nursery.start_soon(client.run)
                await trio.sleep(1)
                back = trio.current_time()
                cluster.line.restore()
                await ours.all_last("moved", *names)
                replaced.add(OURS.name, trio.current_time() - back)
            served.add(OURS.name, client.answered[0] - back)
    return table(f"A dead line, {FORWARDS} forwards", [OURS.name], [known, served, replaced])


async def login(place: Place, peers: Sequence[Tool], rounds: int) -> list[str]:
    tools = [RAW, OURS, *peers]
    one, both = Row("credential plugin of 1 s", "s"), Row(f"and {DISTANCE * 1000:.0f} ms of round trip", "s")
    many = Row(f"{FORWARDS} forwards, credential plugin of 1 s", "s")
    runs = Row("runs of the plugin for them", "", compared=False)
    waits = Row("the pod in use is deleted: longest wait of a client", "s")
    async with open_cluster(place.folder) as cluster:
        plugin = CredentialPlugin(place.folder / "plugin")
        plugin.behave(takes=LOGIN)
        cluster.tokens.ask()
        file = write_kubeconfig(place.folder / "login", dev=cluster.context(plugin.user))
        place = replace(place, kubeconfig=str(file))
        await starts(one, place, tools, rounds)
        for tool in tools:
            before = len(plugin.runs)
            await starts(many, place, [tool], 1, FORWARDS)
            runs.add(tool.name, len(plugin.runs) - before)
        await deletions(waits, cluster, place, rounds)
        cluster.line.round_trip = DISTANCE
        await starts(both, place, tools, rounds)
    columns = [tool.name for tool in tools]
    return [table(READY, columns, [one, both, many, runs]), table("Behind that plugin", [OURS.name], [waits])]


async def deletions(row: Row, cluster: Cluster, place: Place, rounds: int) -> None:
    config = f"forwards: {{it: {{target: {place.target}, ports: ':{place.port}'}}}}\n"
    async with supervising(*place.supervised, config) as ours:
        await ours.all_active("it")
        for _ in range(rounds):
            await cluster.settled()
            async with ours.peer() as peer:
                pod = (await peer.list())["it"]["pod"]
            load = Load(ours.port("it"), count=round(3 / EVERY))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                await trio.sleep(0.5)
                cluster.delete_pod(pod)
            row.add(OURS.name, load.gap)
