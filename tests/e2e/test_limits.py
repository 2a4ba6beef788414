"""What has a bound: files that are open, kubectls that start at once, and kubectls of clients that read nothing."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path

import trio
import trio.testing

from kpf_supervise.sandbox import open_cluster
from tests.conftest import NEWEST
from tests.program import PATIENCE, get, supervising

FEW_FILES = """\
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from kpf_supervise.cli import program as cli
cli.program()
"""

# A kubectl that takes long to start counts as busy all the while, however slow the machine is.
PATIENT = """\
from kpf_supervise.cli import program as cli
from kpf_supervise.forwarding import forwarder
forwarder._BUSY = 60.0
cli.program()
"""


async def test_without_descriptors_connections_wait_and_it_is_told_once(tmp_path: Path) -> None:
    config = 'forwards: {it: {target: service/web, ports: ":http", hold: 60s}}'
    async with open_cluster(tmp_path) as cluster:
        async with (
            supervising(tmp_path, NEWEST, cluster.kubeconfig, config, program=("-c", FEW_FILES)) as instance,
            AsyncExitStack() as stack,
        ):
            await instance.until("active", "it")
            port = instance.port("it")
            for _ in range(80):
                await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
            notice = await instance.until("notice")
            assert notice["message"].startswith("no more than 64 files can be open at a time")
            answers = []

            async def ask() -> None:
                answers.append(await get(port))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked(1)  # ten more times nothing can be accepted
                assert answers == []
                with trio.fail_after(20):
                    await stack.aclose()
            assert answers[0].startswith(b"web-")
            assert [each["message"] for each in instance.events if each["event"] == "notice"] == [notice["message"]]
            assert instance.output == []


async def test_no_more_than_two_kubectls_per_core_start_at_once(tmp_path: Path) -> None:
    """As the cluster counts them: so many tunnels wait for the answer to their upgrade."""
    most = 2 * (os.cpu_count() or 1)
    names = [f"f{number}" for number in range(3 * most)]
    config = "forwards:\n" + "".join(f"  {name}: {{target: service/web, ports: ':http'}}\n" for name in names)
    async with open_cluster(tmp_path) as cluster:
        cluster.faults.upgrade_hold = answered = trio.Event()
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config, program=("-c", PATIENT)) as instance:
            with trio.fail_after(PATIENCE):
                await cluster.upgrades.until(most)
            await trio.testing.wait_all_tasks_blocked(0.5)  # no further upgrade comes
            answered.set()
            await instance.all_active(*names)
        assert cluster.upgrades.most == most


async def test_clients_that_read_nothing_take_a_few_kubectls_and_no_more(tmp_path: Path) -> None:
    config = 'forwards: {it: {target: service/web, ports: ":http"}}'
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance, AsyncExitStack() as stack:
            await instance.until("active", "it")
            port = instance.port("it")
            clients = []
            for _ in range(11):
                client = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
                await client.send_all(b"GET /bytes/500000000 HTTP/1.1\r\nHost: a\r\n\r\n")
                await client.receive_some()
                await trio.testing.wait_all_tasks_blocked(0.5)  # its kubectl is stalled then
                clients.append(client)
            with trio.fail_after(20):
                assert (await get(port)).startswith(b"web-")
            notices = [each["message"] for each in instance.events if each["event"] == "notice"]
            assert len(notices) == 3, notices
            assert notices[0].startswith("it: more than 8 clients read nothing, and each takes a kubectl")
            assert len(instance.kubectls()) <= 9
            with trio.fail_after(20):
                await read_to_end(clients[0])  # that waited longest
                got = 0
                while got < 20_000_000:
                    got += len(await clients[-1].receive_some())
            assert "reconnecting" not in instance.kinds("it")


async def read_to_end(stream: trio.SocketStream) -> None:
    try:
        while await stream.receive_some():
            pass
    except trio.BrokenResourceError:
        pass
