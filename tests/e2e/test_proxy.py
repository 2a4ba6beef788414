"""Names of a cluster on one local port, with real clients: curl, raw SOCKS5, HTTP and a WebSocket."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import trio
import trio.lowlevel
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage

from kpf_supervise.sandbox import Cluster, open_cluster
from tests import preforked
from tests.kubectls import KUBECTLS
from tests.program import PATIENCE, Instance, free_port, get, supervising

NEWEST = KUBECTLS[-1]
WEB = "proxy/web.dev:80"
OPEN = "proxy: any name of the cluster is reached through localhost:{port} (SOCKS5 and HTTP)"


@asynccontextmanager
async def proxying(folder: Path, options: str = "", *words: str) -> AsyncIterator[tuple[Cluster, Instance, int]]:
    """A program with nothing but a proxy, and its port."""
    port = free_port()
    async with open_cluster(folder) as cluster:
        config = f"proxy: {{port: {port}, {options}}}"
        async with supervising(folder, NEWEST, cluster.kubeconfig, config, *words) as instance:
            await instance.until("notice", message=OPEN.format(port=port))
            yield cluster, instance, port


async def curl(*words: str) -> subprocess.CompletedProcess[bytes]:
    """Without the settings of whoever runs the tests."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    command = ["curl", "--disable", "--silent", "--show-error", "--max-time", f"{PATIENCE:g}", *words]
    return await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, env=environment)


def ways(port: int) -> list[list[str]]:
    """The four ways to the same service."""
    return [
        ["--socks5-hostname", f"localhost:{port}", "http://web.dev/"],
        ["-p", "-x", f"http://localhost:{port}", "http://web.dev.svc.cluster.local/"],
        ["-x", f"http://localhost:{port}", "http://web.dev/"],
        [f"http://web.dev.localhost:{port}/"],
    ]


async def asked(port: int) -> set[str]:
    """The pods that answer on each way, all asked at once."""
    pods: set[str] = set()

    async def ask(words: list[str]) -> None:
        done = await curl(*words)
        assert done.returncode == 0, done.stderr
        pods.add(done.stdout.decode().strip())

    async with trio.open_nursery() as nursery:
        for words in ways(port):
            nursery.start_soon(ask, words)
    return pods


async def greeted(port: int, host: str, remote: int) -> tuple[trio.SocketStream, Callable[[], Awaitable[int]]]:
    """A connection, and what waits for the code of the reply."""
    stream = await trio.open_tcp_stream("localhost", port)
    name = host.encode()
    await stream.send_all(b"\x05\x01\x00" + b"\x05\x01\x00\x03" + bytes([len(name)]) + name + struct.pack("!H", remote))

    async def answer() -> int:
        data = b""
        with trio.fail_after(PATIENCE):
            while len(data) < 12 and (more := await stream.receive_some(12 - len(data))):
                data += more
        assert data[:3] == b"\x05\x00\x05"
        return data[3]

    return stream, answer


async def socks(port: int, host: str, remote: int) -> tuple[trio.SocketStream, int]:
    """A connection, and the code of the reply."""
    stream, answer = await greeted(port, host, remote)
    return stream, await answer()


async def test_four_ways_to_one_forward_which_holds_while_the_pods_are_replaced(tmp_path: Path) -> None:
    async with proxying(tmp_path) as (cluster, instance, port), instance.peer() as peer:
        (first,) = await asked(port)
        await instance.until("active", WEB)
        listed = await peer.list()
        assert list(listed) == [WEB]
        assert (listed[WEB]["localPort"], listed[WEB]["target"], listed[WEB]["proxied"]) == (port, "service/web", True)
        assert len(instance.kubectls()) == 1
        for pod in cluster.pods("dev"):
            if pod["metadata"]["labels"].get("app") == "web":
                cluster.delete_pod(pod["metadata"]["name"])
        await asked(port)  # each is answered, perhaps by a pod that is about to go
        await instance.until("moved", WEB)
        pods = await asked(port)
        assert first not in pods
        assert all(pod.startswith("web-") for pod in pods)
        assert "failed" not in instance.kinds(WEB)


async def test_bytes_of_any_kind_and_two_hundred_and_fifty_connections_at_once(tmp_path: Path) -> None:
    async with proxying(tmp_path) as (cluster, instance, port), instance.peer() as peer:
        for host in ("db.dev", "db-0.db.dev.svc.cluster.local"):
            database, code = await socks(port, host, 5432)
            assert code == 0
            async with database:
                await database.send_all(b"hello")
                assert await database.receive_some(100) == b"hello"
        cluster.faults.forbid("list", "pods")
        database, code = await socks(port, "db-0.db.dev", 8080)
        await database.aclose()
        assert code == 0, "a pod's own name needs no list of them"
        cluster.faults.clear()
        assert set(await peer.list()) == {
            f"proxy/{it}" for it in ("db.dev:5432", "db-0.db.dev:5432", "db-0.db.dev:8080")
        }

        websocket = WSConnection(ConnectionType.CLIENT)
        async with await trio.open_tcp_stream("localhost", port) as stream:
            await stream.send_all(websocket.send(Request(host=f"web.dev.localhost:{port}", target="/websocket")))
            for sent, expected in ((None, AcceptConnection), (TextMessage(data="hello"), TextMessage)):
                if sent is not None:
                    await stream.send_all(websocket.send(sent))
                events: list[object] = []
                with trio.fail_after(PATIENCE):
                    while not events:
                        websocket.receive_data(await stream.receive_some())
                        events = list(websocket.events())
                assert isinstance(events[0], expected)
            assert events == [TextMessage(data="hello")]
            await stream.send_all(websocket.send(CloseConnection(code=1000)))

        answers: list[bytes] = []
        before = psutil.Process(instance.process.pid).memory_info().rss

        async def over_socks() -> None:
            stream, code = await socks(port, "web.dev", 9090)
            async with stream:
                assert code == 0
                await stream.send_all(b"echo")
                answers.append(await stream.receive_some(100))

        async def by_name() -> None:
            answers.append(await get(port, "http://web.dev/healthz"))

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for _ in range(125):
                    nursery.start_soon(over_socks)
                    nursery.start_soon(by_name)
        assert sorted(answers) == 125 * [b"echo"] + 125 * [b"ok"]
        assert psutil.Process(instance.process.pid).memory_info().rss - before < 30_000_000
        assert len(instance.kubectls()) == 5


async def test_what_is_refused_says_why_and_disturbs_nobody(tmp_path: Path) -> None:
    async with proxying(tmp_path, "namespaces: [dev]") as (cluster, instance, port), instance.peer() as peer:
        cluster.faults.forbid("get", "services")
        stream, code = await socks(port, "db.dev", 5432)
        await stream.aclose()
        assert code == 2, "connection not allowed by ruleset"
        done = await curl("-x", f"http://localhost:{port}", "-w", "%{http_code}", "http://db.dev:5432/")
        assert "you (sandbox) may not get services in namespace dev. Ask for a role" in done.stdout.decode()
        assert done.stdout.decode().endswith("\n403")
        cluster.faults.clear()

        replies = {
            ("web.dev", 80): 0,
            ("nosuch.dev", 80): 4,
            ("web.dev", 81): 5,
            ("web.data", 80): 2,
            ("extname.dev", 80): 4,
            ("noselector.dev", 80): 4,
            ("10.96.0.10", 80): 8,
            ("example.com", 80): 2,
        }
        for (host, remote), expected in replies.items():
            stream, code = await socks(port, host, remote)
            assert code == expected, host
            await stream.aclose()
        for target, status, sentence in (
            ("http://nosuch.dev/", 404, 'there is no service "nosuch" in namespace dev'),
            ("http://web.dev:81/", 502, "service web.dev has no port 81. It has: 80 (http), 9090 (echo)."),
            ("http://web.data/", 403, "namespace data is not one of those that the proxy may reach: dev."),
            ("http://db-7.db.dev:8080/", 404, "service db.dev has no pod db-7 now."),
        ):
            done = await curl("-x", f"http://localhost:{port}", "-w", "%{http_code}", target)
            assert sentence in done.stdout.decode()
            assert done.stdout.decode().endswith(f"\n{status}")
            done = await curl("-p", "-x", f"http://localhost:{port}", "-w", "%{http_connect}", target)
            assert (done.returncode, done.stdout.decode()) == (56, str(status))
        garbage = [
            b"\x00",
            b"\x04\x01\x00\x50\x00\x00\x00\x01x\x00",
            b"\x05\x01\x02",
            b"\x16\x03\x01",
            os.urandom(5000),
            b"\x05\x05\x00",
        ]
        for bytes_of_it in garbage:
            async with await trio.open_tcp_stream("localhost", port) as stream:
                await stream.send_all(bytes_of_it)
                await stream.send_eof()
                with trio.fail_after(PATIENCE):
                    try:
                        async for _ in stream:
                            pass
                    except trio.BrokenResourceError:
                        pass

        limiter = trio.CapacityLimiter(50)

        async def ask(number: int) -> None:
            async with limiter:
                stream, code = await socks(port, f"wrong-{number}.dev", 80)
                assert code == 4
                await stream.aclose()

        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(ask, number)
        assert len([each for each in instance.events if each["message"].startswith("proxy: refused: ")]) <= 10
        assert not [each for each in instance.events if "error in kpf-supervise" in each["message"]]
        assert list(await peer.list()) == [WEB]
        assert (await asked(port)).pop().startswith("web-")


async def test_a_hold_that_ends_says_why(tmp_path: Path) -> None:
    async with proxying(tmp_path, "hold: 1s") as (cluster, instance, port):
        cluster.scale("deployment/web", 0)
        done = await curl(f"http://web.dev.localhost:{port}/", "-w", "%{http_code}")
        assert done.stdout.decode().endswith("\n504")
        assert "service/web has no ready pod" in done.stdout.decode()
        connect = await curl("-p", "-x", f"http://localhost:{port}", "-w", "%{http_connect}", "http://web.dev/")
        assert connect.stdout == b"504"
        stream, code = await socks(port, "web.dev", 80)
        await stream.aclose()
        assert code == 4
        assert instance.kinds(WEB).count("waiting") >= 1
        cluster.scale("deployment/web", 1)
        await cluster.settled()
        await curl(f"http://web.dev.localhost:{port}/")  # its kubectl may take longer than a second to start
        await instance.until("active", WEB)
        assert (await asked(port)).pop().startswith("web-")


async def test_a_held_client_is_served_after_an_outage_or_told_that_its_forward_was_stopped(tmp_path: Path) -> None:
    async with proxying(tmp_path) as (cluster, instance, port), instance.peer() as peer:
        await asked(port)
        await cluster.stop_api()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asked, port)
            stream, answer = await greeted(port, "db.dev", 5432)
            await instance.told(lambda: any("It is retried until it answers" in e["message"] for e in instance.events))
            assert list(await peer.list()) == [WEB], "what db.dev is could not be asked for"
            await cluster.start_api()
        assert await answer() == 0
        await stream.aclose()

        stream, answer = await greeted(port, "noendpoints.dev", 80)
        await instance.until("waiting", "proxy/noendpoints.dev:80")
        await peer.call("portforward:stop", id="proxy/noendpoints.dev:80")
        assert await answer() == 1
        assert await stream.receive_some() == b""
        await stream.aclose()


async def test_a_name_leaves_the_list_and_one_that_is_stopped_stays_stopped(tmp_path: Path) -> None:
    async with proxying(tmp_path, "idle_timeout: 500ms") as (_, instance, port), instance.peer() as peer:
        await peer.call("subscribe")
        stream, _ = await socks(port, "web.dev", 9090)
        await asked(port)
        await peer.event("removed", WEB)
        assert list(await peer.list()) == ["proxy/web.dev:9090"], "it has a connection"
        assert len(instance.kubectls()) == 1
        await stream.aclose()
        await peer.event("removed", "proxy/web.dev:9090")
        assert (await peer.list(), instance.kubectls()) == ({}, [])
        await asked(port)
        await peer.call("portforward:stop", id=WEB)
        done = await curl("-x", f"http://localhost:{port}", "http://web.dev/")
        assert done.stdout.decode() == f"the forward {WEB} is stopped. Start it with: kpfctl restart {WEB}.\n"
        await peer.call("restart", id=WEB)
        assert (await asked(port)).pop().startswith("web-")


async def test_edits_of_the_file_apply(tmp_path: Path) -> None:
    async with proxying(tmp_path) as (_, instance, port), instance.peer() as peer:
        await asked(port)
        stream, _ = await socks(port, "web.dev", 9090)
        file, other = tmp_path / "config.yaml", free_port()
        web = "forwards: {web: {target: service/web, ports: ':http'}}\n"
        file.write_text(f"{web}proxy: {{port: {port}, namespaces: [dev, data]}}\n")
        await instance.until("active", "web")
        async with stream:
            await stream.send_all(b"still there")
            assert await stream.receive_some(100) == b"still there"
        file.write_text(f"{web}proxy: {other}\n")
        await instance.until("notice", message=OPEN.format(port=other))
        assert (await asked(other)).pop().startswith("web-")
        assert (await curl(f"http://localhost:{port}/")).returncode == 7
        file.write_text(web)
        await instance.until("notice", message="proxy: it is closed")
        assert list(await peer.list()) == ["web"]
        assert (await curl(f"http://localhost:{other}/")).returncode == 7


async def run(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "HOME": str(folder), "NO_PROXY": "intranet"}
    with trio.fail_after(2 * PATIENCE):
        return await preforked.run("-m", "kpf_supervise", "--kubectl", NEWEST.path, *words, env=environment)


async def test_a_command_finds_the_proxy_and_no_file_is_needed(tmp_path: Path) -> None:
    port = free_port()
    script = (
        "import json, os, subprocess, sys\n"
        "names = ['ALL_PROXY', 'HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']\n"
        "values = {name: os.environ[name] for name in names}\n"
        "assert values == {name: os.environ[name.lower()] for name in names}\n"
        "print(json.dumps(values))\n"
        "for url in ('http://web.dev/', f'http://web.dev.localhost:{values[\"ALL_PROXY\"].rpartition(\":\")[2]}/'):\n"
        "    print(subprocess.run(['curl', '-q', '-sS', url], capture_output=True).stdout.decode().strip())\n"
        "kpfctl = [sys.executable, '-m', 'kpf_supervise.kpfctl', 'env', '--proxy', '-o', 'json']\n"
        "env = subprocess.run(kpfctl, capture_output=True, check=True).stdout\n"
        "print(json.loads(env)['ALL_PROXY'], os.environ.get('KPF_PROXY_WEB_DEV_80_PORT'))\n"
    )
    done = await run(tmp_path, "--sandbox", "--proxy", str(port), "--", sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    values, web, local, env = done.stdout.decode().splitlines()
    assert json.loads(values) == {
        "ALL_PROXY": f"socks5h://localhost:{port}",
        "HTTP_PROXY": f"http://localhost:{port}",
        "HTTPS_PROXY": f"http://localhost:{port}",
        "NO_PROXY": "localhost,127.0.0.1,::1,intranet",
    }
    assert re.fullmatch(r"web-\w+-\w+", web)
    assert re.fullmatch(r"web-\w+-\w+", local)
    assert env == f"socks5h://localhost:{port} None"


async def test_a_port_that_is_taken_is_told_at_once(tmp_path: Path) -> None:
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = await run(tmp_path, "--proxy", f"127.0.0.1:{port}", "--log-format=json")
    assert done.returncode == 1
    assert f"proxy: port {port} on 127.0.0.1 is already in use by pid " in done.stderr.decode()


@pytest.mark.parametrize("value", ["x", "0", "localhost", "web.shop:80", ":99999"])
async def test_where_it_can_t_listen(value: str, tmp_path: Path) -> None:
    done = await run(tmp_path, "--proxy", value)
    assert (done.returncode, b"Invalid value for '--proxy'" in done.stderr) == (2, True)
