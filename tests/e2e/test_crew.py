"""Several kubectls of one forward, one after the other or beside each other, with real kubectl."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest
import trio

from kpf_supervise.sandbox import open_cluster
from tests.kubectls import KUBECTLS, Kubectl
from tests.program import Instance, get, supervising, until

NEWEST = KUBECTLS[-1]


async def echo(stream: trio.SocketStream) -> bytes:
    await stream.send_all(b"hello")
    with trio.fail_after(10):
        try:
            return bytes(await stream.receive_some())
        except trio.BrokenResourceError:
            return b""


async def until_kubectls(instance: Instance, count: int) -> list[psutil.Process]:
    await until(lambda: len(instance.kubectls()) == count)
    return instance.kubectls()


async def test_the_end_of_one_of_several_costs_its_own_connections_alone(kubectl: Kubectl, tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        config = 'forwards: {it: {target: service/web, ports: ":9090", children: 3}}'
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance, AsyncExitStack() as stack:
            active = await instance.until("active", "it")
            await until_kubectls(instance, 4)  # and one to spare
            clients = []
            for _ in range(9):
                stream = await trio.open_tcp_stream("127.0.0.1", active["port"])
                clients.append(await stack.enter_async_context(stream))
                assert await echo(stream) == b"hello"
            busy = [each for each in instance.kubectls() if each.net_connections()]
            next(each for each in busy if established(each) == 3).kill()
            thinned = await instance.until("active", "it")
            assert "of its kubectls serve on" in thinned["message"]
            answers = [await echo(stream) for stream in clients]
            assert sorted(answers) == [b""] * 3 + [b"hello"] * 6
            async with await trio.open_tcp_stream("127.0.0.1", active["port"]) as stream:
                assert await echo(stream) == b"hello"
            await until_kubectls(instance, 4)
            assert instance.kinds("it") == ["connecting", "active", "active"]


def established(process: psutil.Process) -> int:
    """How many clients a kubectl has: its own connection goes to another port."""
    ports = {each.laddr.port for each in process.net_connections() if each.status == psutil.CONN_LISTEN}
    return sum(
        each.laddr.port in ports and each.status == psutil.CONN_ESTABLISHED for each in process.net_connections()
    )


async def test_a_pod_that_refuses_is_no_better_by_another_kubectl(tmp_path: Path) -> None:
    """Several children don't hide it, and no storm of kubectls comes of it."""
    async with open_cluster(tmp_path) as cluster:
        cluster.faults.refuse_port(9090)
        config = 'forwards: {it: {target: service/web, ports: ":9090", children: 2, reconnect: {initial: 50ms}}}'
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance:
            active = await instance.until("active", "it")
            async with await trio.open_tcp_stream("127.0.0.1", active["port"]) as stream:
                await stream.send_all(b"hello")
                await instance.until("failed", "it", cause="remote-refused")
            assert await until_kubectls(instance, 0) == []


async def test_while_the_next_pod_can_not_be_reached_the_old_one_serves(tmp_path: Path) -> None:
    """Held for a second, then better served by a pod that is about to go than not at all."""
    async with open_cluster(tmp_path) as cluster:
        again = "{attempts: unlimited, initial: 50ms, max: 50ms}"
        config = f'forwards: {{it: {{target: service/web, ports: ":http", reconnect: {again}}}}}'
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance:
            active = await instance.until("active", "it")
            cluster.faults.refuse_upgrade(503)
            cluster.set_ready(active["pod"], False)
            await instance.until("reconnecting", "it")
            assert (await get(active["port"])).decode() == active["pod"] + "\n"
            cluster.faults.clear()
            moved = await instance.until("moved", "it")
            assert (await get(active["port"])).decode() == moved["pod"] + "\n"
            await until_kubectls(instance, 1)


@pytest.mark.long
async def test_a_tunnel_that_dies_alone_is_left_and_its_connections_learn_it(tmp_path: Path) -> None:
    """The watch lives on and kubectl says nothing for 30 s."""
    async with open_cluster(tmp_path) as cluster:
        config = 'forwards: {it: {target: service/web, ports: [":http", ":9090"]}}'
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance:
            await instance.all_active("it/http", "it/9090")
            port = instance.port("it/9090")
            async with (
                await trio.open_tcp_stream("127.0.0.1", port) as old,
                await trio.open_tcp_stream("127.0.0.1", port) as mute,
            ):
                assert await echo(old) == b"hello"
                cluster.lose_tunnels()
                await mute.send_all(b"hello")
                moved = await instance.until("moved", "it/9090")
                assert moved["message"].startswith("nothing has come back for 5 s, as from a dead tunnel → a fresh")
                async with await trio.open_tcp_stream("127.0.0.1", port) as fresh:
                    assert await echo(fresh) == b"hello"
                    with trio.fail_after(60):
                        assert await old.receive_some() == b""
                    assert await echo(fresh) == b"hello"
                await until_kubectls(instance, 2)
            assert instance.kinds("it/http") == ["connecting", "active"]
