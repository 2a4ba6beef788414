"""The sandbox cluster to real kubectl, the oldest and the newest that there is, when all goes well."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import ssl
import subprocess
import sys
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
import wsproto

from kpf_supervise.sandbox import Cluster, Timing, open_cluster, workloads
from kpf_supervise.sandbox.store import Object
from tests.kubectl_client import PATIENCE, Client, forwarding, running
from tests.kubectls import KUBECTLS

SIZE = 20_000_000


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with open_cluster(
        tmp_path, Timing(create=0.01, ready=0.01, terminate=0.05, teardown=0.01, delete=0.02)
    ) as cluster:
        yield cluster


def names(objects: list[Object]) -> list[str]:
    return [object["metadata"]["name"] for object in objects]


def uid_of_db(cluster: Cluster) -> str | None:
    return next((pod["metadata"]["uid"] for pod in cluster.pods(app="db")), None)


async def until(cluster: Cluster, holds: Callable[[], bool]) -> None:
    """Wait for a change in the cluster after which that holds."""
    with trio.fail_after(PATIENCE):
        while not holds():
            await cluster.store.wait_past(cluster.store.version)


async def test_get(client: Client) -> None:
    cluster = client.cluster
    assert names(json.loads(await client.output("get", "pods", "-o", "json"))["items"]) == names(cluster.pods())
    some = await client.output("get", "po", "-l", "app=search,tier=backend", "-o", "name")
    assert some == f"pod/{names(cluster.pods(app='search'))[0]}\n"
    everything = await client.output("get", "deploy,sts,rs,svc,ns,po")
    for name in ("deployment.apps/web", "statefulset.apps/db", "service/extname", "namespace/kube-system", "pod/db-0"):
        assert name in everything
    assert (await client.output("get", "ns", "-o", "name")).split() == [
        f"namespace/{name}" for name in ("data", "default", "dev", "kube-system")
    ]


async def test_what_is_not_there(client: Client) -> None:
    for words, message in {
        "pod nosuch": 'pods "nosuch" not found',
        "deployment nosuch": 'deployments.apps "nosuch" not found',
        "-n nosuch pod web": 'namespaces "nosuch" not found',
    }.items():
        done = await client.run("get", *words.split())
        assert done.stderr.decode() == f"Error from server (NotFound): {message}\n"


async def test_services_come_and_go(client: Client) -> None:
    words = ("expose", "deployment/web", "--name=again", "--port=81", "--target-port=http")
    assert await client.output(*words) == "service/again exposed\n"
    done = await client.run(*words)
    assert b"already exists" in done.stderr
    (port,) = json.loads(await client.output("get", "svc", "again", "-o", "json"))["spec"]["ports"]
    assert port == {"protocol": "TCP", "port": 81, "targetPort": "http"}
    async with forwarding(client, "service/again", ":81") as forward:
        assert (await forward.get()).startswith(b"web-")
    assert 'service "again" deleted' in await client.output("delete", "svc", "again")


async def test_a_deleted_pod_is_replaced(client: Client) -> None:
    cluster = client.cluster
    before = cluster.pods(app="web")
    gone = before[0]["metadata"]["name"]
    async with running(client, "get", "--raw", "/api/v1/namespaces/dev/pods?watch=1&labelSelector=app=web") as watch:
        await watch.says(r"(.*\n){2}")
        assert f'pod "{gone}"' in await client.output("delete", "pod", gone)  # it waits for the end
        await cluster.settled()
        await watch.says('{"type":"DELETED"')
    events = [json.loads(line) for line in watch.printed.splitlines()]
    steps = [event for event in events if event["object"]["metadata"]["name"] == gone]
    assert [event["type"] for event in steps][0 :: len(steps) - 1] == ["ADDED", "DELETED"]
    leaving = steps[1]["object"]  # terminating: still running and ready, its deletion lies in the future
    assert leaving["metadata"]["deletionGracePeriodSeconds"] == 30
    assert leaving["status"]["phase"] == "Running"
    assert {"type": "Ready", "status": "True"}.items() <= leaving["status"]["conditions"][2].items()
    assert steps[2]["object"]["status"]["phase"] == "Succeeded"
    now = cluster.pods(app="web")
    assert len(now) == 2
    assert gone not in names(now)


async def test_a_stateful_pod_comes_back_under_its_name(client: Client) -> None:
    cluster = client.cluster
    before, version = uid_of_db(cluster), cluster.store.version
    await client.output("delete", "pod", "db-0", "--wait=false")
    await until(cluster, lambda: uid_of_db(cluster) not in (before, None))
    changes = [change for change in cluster.store.since(version) if change.key == ("pods", "dev", "db-0")]
    *old, new = changes[: [change.type for change in changes].index("ADDED") + 1]
    assert [change.type for change in old] == ["MODIFIED"] * (len(old) - 1) + ["DELETED"]  # and only then a new one
    assert {change.object["metadata"]["uid"] for change in old} == {before}
    assert new.object["metadata"]["uid"] == uid_of_db(cluster)


async def test_rollout_and_scale(client: Client) -> None:
    cluster = client.cluster
    old = names(cluster.pods(app="web"))
    ready = [2]

    async def watch_over() -> None:
        while True:
            await cluster.store.wait_past(cluster.store.version)
            ready.append(cluster.store.get("deployments", "dev", "web")["status"]["readyReplicas"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_over)
        await client.output("rollout", "restart", "deployment/web")
        assert "successfully rolled out" in await client.output("rollout", "status", "deployment/web")
        nursery.cancel_scope.cancel()
    await cluster.settled()
    assert min(ready) == 2
    assert not set(old) & set(names(cluster.pods(app="web")))
    await client.output("scale", "deployment/web", "--replicas=1")
    await until(cluster, lambda: len(cluster.pods(app="web")) == 1)
    uid = uid_of_db(cluster)
    await client.output("rollout", "restart", "statefulset/db")
    await until(cluster, lambda: uid_of_db(cluster) not in (uid, None))


@pytest.mark.parametrize(
    ("target", "port", "pod"),
    [
        ("service/web", ":80", 8080),
        ("service/db", ":http", 8080),
        ("deployment/search", ":9200", 9200),
        ("statefulset/db", ":http", 8080),
    ],
)
async def test_targets(client: Client, target: str, port: str, pod: int) -> None:
    async with forwarding(client, target, port) as forward:
        app = target.partition("/")[2]
        assert (await forward.get(port=pod)).decode().strip() in names(client.cluster.pods(app=app))


async def test_targets_that_cannot_be(client: Client) -> None:
    invalid = "error: cannot attach to *v1.Service: invalid service '{}': Service is defined without a selector"
    for target, message in {
        "service/noselector": invalid.format("noselector"),
        "service/extname": invalid.format("extname"),
        "pod/pending": "error: unable to forward port because pod is not running. Current status=Pending",
    }.items():
        done = await client.run("port-forward", target, ":http")
        assert done.stderr.decode().strip() == message
    done = await client.run("port-forward", "--pod-running-timeout=1s", "service/noendpoints", ":http")
    assert "timed out waiting for the condition" in done.stderr.decode()


async def test_http_through_a_tunnel(tunnel: Client) -> None:
    async with forwarding(tunnel, "pod/db-0") as forward:
        assert await forward.get() == b"db-0\n"
        assert await forward.get("/whoami") == b"pod db-0, host pod, port 8080\n"
        assert await forward.get("/healthz") == b"ok"
        wanted = hashlib.sha256(b"".join(workloads.content(SIZE))).hexdigest()
        assert hashlib.sha256(await forward.get(f"/bytes/{SIZE}")).hexdigest() == wanted
        head = f"POST /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {SIZE}\r\n\r\n".encode()
        assert (await forward.ask(head + bytes(SIZE))).endswith(f"{SIZE}\n".encode())
        async with await forward.connect() as kept:
            for _ in range(3):
                await kept.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await kept.receive_some()).endswith(b"ok")
        assert tunnel.cluster.connections == {"db-0": 6}
        upgrade = tunnel.cluster.requests[-1]
        assert upgrade.method == ("GET" if tunnel.tunnel == "websocket" else "POST")


async def test_echo_with_half_close(tunnel: Client) -> None:
    """All that was sent comes back after the client has closed its side, many connections at once."""
    async with forwarding(tunnel, "pod/db-0", ":5432") as forward, trio.open_nursery() as nursery:

        async def talk(text: bytes) -> None:
            async with await forward.connect(5432) as stream:
                for _ in range(3):
                    await stream.send_all(text)
                    assert await stream.receive_some() == text
                await stream.send_all(text * 50_000)
                await stream.send_eof()
                assert b"".join([bytes(chunk) async for chunk in stream]) == text * 50_000

        for number in range(10):
            nursery.start_soon(talk, f"{number} ".encode())


async def test_a_client_that_leaves_in_the_middle(tunnel: Client) -> None:
    async with forwarding(tunnel, "pod/db-0") as forward:
        async with await forward.connect() as stream:
            await stream.send_all(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200" in await stream.receive_some()
        assert await forward.get() == b"db-0\n"


async def test_the_runtime_as_slow_as_a_real_one(tmp_path: Path) -> None:
    """containerd 2.1: the pod's close is passed on late, the client's half-close ends all soon after."""
    async with open_cluster(tmp_path, Timing(linger=0.3)) as cluster:
        client = Client(KUBECTLS[-1], cluster)
        async with forwarding(client, "pod/db-0", ":8080", ":5432") as forward:
            began = trio.current_time()
            assert await forward.get() == b"db-0\n"
            assert 0.3 <= trio.current_time() - began < 0.8
            async with await forward.connect(5432) as stream:
                await stream.send_all(b"once")
                await stream.send_eof()
                began = trio.current_time()
                assert [bytes(chunk) async for chunk in stream] == [b"once"]
                assert 0.3 <= trio.current_time() - began < 0.8


@pytest.mark.parametrize("how", ["signal", "eof"])
async def test_by_itself(how: str, tmp_path: Path) -> None:
    """It says where its kubeconfig is, and leaves nothing behind."""
    command = [sys.executable, "-m", "kpf_supervise.sandbox", "--until-eof"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert process.stdin is not None
    assert process.stdout is not None
    async with process.stdin, process.stdout:
        with trio.fail_after(PATIENCE):
            line = (await process.stdout.receive_some()).decode()
            kubeconfig = Path(line.removeprefix("KUBECONFIG=").rstrip("\n"))
            assert kubeconfig.is_relative_to(tmp_path)
            assert json.loads(kubeconfig.read_text())["current-context"] == "sandbox"
            if how == "signal":
                process.send_signal(signal.SIGTERM)
            else:
                await process.stdin.aclose()
            assert await process.wait() == 0
    assert list(tmp_path.iterdir()) == []


async def test_endpoints_are_the_ready_pods_of_a_service(client: Client) -> None:
    cluster = client.cluster

    def named() -> list[str]:
        subsets = cluster.store.get("endpoints", "dev", "web")["subsets"]
        return [address["targetRef"]["name"] for subset in subsets for address in subset["addresses"]]

    first, second = names(cluster.pods(app="web"))
    assert first in await client.output("get", "endpoints", "web", "-o", "yaml")
    cluster.set_ready(first, ready=False)
    await until(cluster, lambda: named() == [second])
    cluster.set_ready(first, ready=True)
    await until(cluster, lambda: sorted(named()) == [first, second])


async def cluster_stream(cluster: Cluster) -> trio.SSLStream[trio.SocketStream]:
    """A connection to the API server, over HTTP/1.1."""
    _, facts = cluster.context({})
    authority = b64decode(facts["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    return await trio.open_ssl_over_tcp_stream("127.0.0.1", cluster.port, ssl_context=context, https_compatible=True)


@pytest.mark.parametrize("protocols", [["v4.channel.k8s.io"], []])
async def test_a_websocket_of_channels_is_one_connection(cluster: Cluster, protocols: list[str]) -> None:
    """As client libraries speak it (kr8s 0.20, kube-rs): the port on both channels first, then data on the first."""
    pod = names(cluster.pods(app="web"))[0]
    ws = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    path = f"/api/v1/namespaces/dev/pods/{pod}/portforward?ports=8080"
    got: list[bytes] = []
    async with await cluster_stream(cluster) as stream:
        await stream.send_all(ws.send(wsproto.events.Request(host="sandbox", target=path, subprotocols=protocols)))
        with trio.fail_after(PATIENCE):
            async for chunk in stream:
                ws.receive_data(bytes(chunk))
                for event in ws.events():
                    match event:
                        case wsproto.events.AcceptConnection(subprotocol=chosen):
                            assert chosen == (protocols[0] if protocols else None)
                            request = b"\0GET / HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n"
                            await stream.send_all(ws.send(wsproto.events.BytesMessage(data=request)))
                        case wsproto.events.BytesMessage(data=data):
                            got.append(bytes(data))
                        case wsproto.events.CloseConnection():
                            await stream.send_all(ws.send(event.response()))
    port = (8080).to_bytes(2, "little")
    assert got[:2] == [b"\0" + port, b"\1" + port]
    assert {message[:1] for message in got[2:]} == {b"\0"}
    assert b"".join(message[1:] for message in got[2:]).endswith(f"\r\n\r\n{pod}\n".encode())
