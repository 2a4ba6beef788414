"""`balance: true` with real kubectl: connections over all pods of a service."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import trio

from kpf_supervise.sandbox import Timing, open_cluster
from tests.conftest import both
from tests.kubectls import KUBECTLS, Kubectl
from tests.load import Load
from tests.program import PATIENCE, Instance, supervising

NEWEST = KUBECTLS[-1]


class Kept:
    """A connection that stays open."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream

    async def ask(self) -> str:
        """The name of the pod that answers; empty if the connection has ended."""
        try:
            await self._stream.send_all(b"GET / HTTP/1.1\r\nHost: sandbox\r\n\r\n")
            with trio.fail_after(10):
                answer = bytes(await self._stream.receive_some())
                while answer and not answer.endswith(b"\n"):
                    answer += await self._stream.receive_some()
        except trio.BrokenResourceError:
            return ""
        return answer.partition(b"\r\n\r\n")[2].decode().strip()

    async def ended(self) -> None:
        """Wait until the pod has ended it."""
        with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
            while await self._stream.receive_some():
                pass


async def opened(stack: AsyncExitStack, port: int, count: int) -> list[Kept]:
    return [Kept(await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))) for _ in range(count)]


async def pods_of(connections: list[Kept]) -> list[str]:
    return [await each.ask() for each in connections]


async def until_pods(instance: Instance, count: int) -> None:
    await instance.until("active", "web", message=f"connections go to {count} of {count} pods")


async def test_connections_are_spread_and_a_pod_takes_only_its_own_with_it(tmp_path: Path) -> None:
    async with open_cluster(tmp_path, Timing(terminate=0.5)) as cluster:
        cluster.scale("deployment/web", 3)
        await cluster.settled()
        config = 'forwards: {web: {target: service/web, ports: ":http", balance: true}}'
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance, AsyncExitStack() as stack:
            active = await instance.until("active", "web")
            assert active["message"].endswith(", 1 of 3 pods")
            port = active["port"]
            await until_pods(instance, 3)
            kept = await opened(stack, port, 6)
            assert [*Counter(await pods_of(kept)).values()] == [2, 2, 2]

            listed = json.loads((await instance.ctl("list", "-o", "json")).stdout)[0]
            assert sorted(listed["pods"]) == sorted(pod["metadata"]["name"] for pod in cluster.pods(app="web"))
            assert listed["pod"] in listed["pods"]
            assert " 3 pods " in (await instance.ctl("list")).stdout
            assert ", ".join(listed["pods"]) in (await instance.ctl("describe", "web")).stdout

            cluster.scale("deployment/web", 4)
            await until_pods(instance, 4)
            kept += await opened(stack, port, 2)
            counts = Counter(await pods_of(kept))
            assert [*counts.values()] == [2, 2, 2, 2]

            load = Load(port)
            before = await pods_of(kept)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                await load.more(20)
                cluster.delete_pod(before[0])
                thinned = await instance.until("active", "web")
                assert thinned["message"] == f"{before[0]} is terminating; connections go to 3 of 3 pods"
                at = len(load.answers) + load.clients  # those that are under way may have reached it
                await until_pods(instance, 4)
                await load.more(20)
                nursery.cancel_scope.cancel()
            assert load.failures == []
            assert before[0] not in load.answers[at:]
            await kept[0].ended()  # its pod ends in its own time
            assert await pods_of(kept) == [pod if pod != before[0] else "" for pod in before]


@both
async def test_a_rollout_costs_no_request(kubectl: Kubectl, tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        config = "forwards: {web: {target: deployment/web, ports: ':http', balance: true}}"
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
            await until_pods(instance, 2)
            old = {pod["metadata"]["name"] for pod in cluster.pods(app="web")}
            load = Load(instance.port("web"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                await load.more(20)
                cluster.rollout_restart("deployment/web")
                await load.until(lambda: len(set(load.answers[-20:]) - old) == 2 and not set(load.answers[-20:]) & old)
                nursery.cancel_scope.cancel()
            assert load.failures == []
