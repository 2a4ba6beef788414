"""The bad sides of the sandbox cluster, each as real kubectl showed it on a real cluster (the recordings)."""

from __future__ import annotations

import json

import trio

from kpf_supervise.sandbox import Cluster
from tests.kubectl_client import PATIENCE, Client, Forward, forwarding, running
from tests.kubectls import KUBECTLS

ENDS_WITH_A_FAILED_CONNECTION = (1, 27, 0)  # from here on kubectl exits when one connection can't be made
WELL_AFTER_AN_ABORT = (1, 32, 0)
PODS = "/api/v1/namespaces/dev/pods?watch=1&allowWatchBookmarks=true"


async def stream(forward: Forward) -> trio.SocketStream:
    """A connection with an answer under way that never ends."""
    connection = await forward.connect()
    await connection.send_all(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"200" in await connection.receive_some()
    return connection


async def ends(connection: trio.SocketStream) -> None:
    with trio.fail_after(5):
        async for _ in connection:
            pass


async def fails(client: Client, forward: Forward, text: str, port: int = 8080) -> None:
    """A connection gets EOF, kubectl tells why; from 1.27 on it ends, before it lives on."""
    assert await forward.get(port=port) == b""
    await forward.kubectl.says(f"an error occurred forwarding [0-9]+ -> {port}: error forwarding port {port} to pod ")
    await forward.kubectl.says(text)
    if client.kubectl.version >= ENDS_WITH_A_FAILED_CONNECTION:
        await forward.kubectl.says("error: lost connection to pod")
        assert await forward.kubectl.exit_code() == 1
    else:
        assert forward.kubectl.alive


async def test_nothing_listens(tunnel: Client) -> None:
    async with forwarding(tunnel, "pod/db-0", ":7777", ":8080") as forward:
        assert await forward.get() == b"db-0\n"
        await fails(tunnel, forward, r"dial tcp4 127\.0\.0\.1:7777: connect: connection refused IPv6 dial tcp6", 7777)
        assert tunnel.cluster.connections == {"db-0": 1}


async def test_any_error_text(client: Client) -> None:
    client.cluster.faults.port_error(8080, "the text of a test", pod="db-0")
    async with forwarding(client, "pod/db-0") as forward:
        await fails(client, forward, "the text of a test")


async def test_a_deleted_pod_leaves_its_tunnel_open(tunnel: Client) -> None:
    """Open connections end with the process; kubectl notices nothing until the next connection."""
    cluster = tunnel.cluster
    name = cluster.pods(app="web")[0]["metadata"]["name"]
    async with forwarding(tunnel, f"pod/{name}") as forward:
        connection = await stream(forward)
        cluster.delete_pod(name)
        assert await forward.get() == f"{name}\n".encode()  # SIGTERM: it serves on
        async with connection:
            await ends(connection)
        await cluster.settled()
        await trio.sleep(cluster.timing.collect * 1.5)
        assert forward.kubectl.alive
        assert cluster.tunnels == [name]
        await fails(tunnel, forward, r'failed to find sandbox \\?"[0-9a-f]{64}\\?" in store: not found')


async def test_a_pod_that_is_being_torn_down(tunnel: Client) -> None:
    """The name is in use again, but the tunnel is pinned to the old sandbox."""
    cluster = tunnel.cluster
    async with forwarding(tunnel, "pod/db-0") as forward:
        connection = await stream(forward)
        cluster.delete_pod("db-0")
        async with connection:
            await ends(connection)
        while cluster.pod("db-0")["status"]["phase"] == "Running":
            await cluster.store.wait_past(cluster.store.version)
        await fails(tunnel, forward, r'network namespace for sandbox \\?"[0-9a-f]{64}\\?" is closed')


async def test_a_container_that_restarts(tunnel: Client) -> None:
    """Its tunnel works again if nothing connects in between."""
    cluster = tunnel.cluster
    async with forwarding(tunnel, "pod/db-0") as forward:
        connection = await stream(forward)
        assert await forward.get("/exit") == b""
        async with connection:
            await ends(connection)
        while (status := cluster.pod("db-0")["status"]["containerStatuses"][0])["restartCount"] == 0:
            await cluster.store.wait_past(cluster.store.version)
        assert status["lastState"]["terminated"]["exitCode"] == 1
        assert await forward.get() == b"db-0\n"
        cluster.restart_container("db-0", down=0.5)
        await fails(tunnel, forward, "connection refused")


async def test_readiness(cluster: Cluster) -> None:
    """It changes what the pod says, and nothing else."""
    client = Client(KUBECTLS[-1], cluster)
    cluster.set_ready("db-0", False)
    pod = json.loads(await client.output("get", "pod", "db-0", "-o", "json"))
    assert {"type": "Ready", "status": "False"}.items() <= pod["status"]["conditions"][2].items()
    assert not pod["status"]["containerStatuses"][0]["ready"]
    async with forwarding(client, "pod/db-0") as forward:
        assert await forward.get() == b"db-0\n"


async def test_an_upgrade_refused(tunnel: Client) -> None:
    for status in (401, 403, 404, 409, 500, 503):
        tunnel.cluster.faults.refuse_upgrade(status, "not today")
        done = await tunnel.run("port-forward", "pod/db-0", ":8080")
        assert done.returncode == 1
        assert done.stderr.decode().startswith("error: error upgrading connection: ")
        assert done.stderr.decode().endswith("not today\n")


async def test_an_upgrade_refused_in_the_usual_words(client: Client) -> None:
    for status, text in {
        401: "Unauthorized",
        403: 'pods "db-0" is forbidden: User "sandbox" cannot create resource "pods/portforward"',
        404: 'pods "db-0" not found',
        500: "error dialing backend: dial tcp",
    }.items():
        client.cluster.faults.refuse_upgrade(status)
        assert text in (await client.run("port-forward", "pod/db-0", ":8080")).stderr.decode()


async def test_an_upgrade_never_answered(tunnel: Client) -> None:
    tunnel.cluster.faults.hang_upgrade()
    async with running(tunnel, "port-forward", "pod/db-0", ":8080") as kubectl:
        with trio.fail_after(5):
            while not any("portforward" in request.path for request in tunnel.cluster.requests):
                await trio.lowlevel.checkpoint()
        await trio.sleep(0.2)
        assert kubectl.alive
        assert kubectl.printed == ""


async def test_websockets_not_served(cluster: Cluster) -> None:
    """kubectl falls back to SPDY, for lack of the protocol as for lack of the Accept header."""
    client = Client(KUBECTLS[-1], cluster, "websocket")
    for fault in ("no_websocket", "no_accept_header"):
        setattr(cluster.faults, fault, True)
        async with forwarding(client, "pod/db-0") as forward:
            assert await forward.get() == b"db-0\n"
        assert cluster.requests[-1].method == "POST"
        cluster.faults.clear()


async def test_a_tunnel_cut(tunnel: Client) -> None:
    async with forwarding(tunnel, "pod/db-0") as forward:
        connection = await stream(forward)
        assert tunnel.cluster.cut_tunnels("web") == 0
        assert tunnel.cluster.cut_tunnels("db-0") == 1
        async with connection:
            await ends(connection)
        await forward.kubectl.says("lost connection to pod")
        old = tunnel.kubectl.version < (1, 23, 0)  # 1.20 logs it and exits with 0
        assert await forward.kubectl.exit_code() == (0 if old else 1)


async def test_an_api_server_gone(client: Client) -> None:
    cluster = client.cluster
    async with running(client, "get", "--raw", PODS) as watch, forwarding(client, "pod/db-0") as forward:
        await watch.says("db-0")
        await cluster.stop_api()
        assert await watch.exit_code() == 1
        await watch.says("unexpected EOF")
        await forward.kubectl.says("lost connection to pod")
    refused = await client.run("get", "pods")
    assert f"The connection to the server 127.0.0.1:{cluster.port} was refused" in refused.stderr.decode()
    await cluster.start_api()
    assert "db-0" in await client.output("get", "pods")


async def test_an_api_server_that_stops_gracefully(client: Client) -> None:
    """It accepts nothing more and ends the watches; tunnels work on until the process ends."""
    cluster = client.cluster
    async with running(client, "get", "--raw", PODS) as watch, forwarding(client, "pod/db-0") as forward:
        await watch.says("db-0")
        await cluster.stop_api(keep_tunnels=True)
        assert await watch.exit_code() == 0
        assert (await client.run("get", "pods")).returncode == 1
        assert await forward.get() == b"db-0\n"
        await cluster.start_api()
        assert await forward.get() == b"db-0\n"
        await cluster.stop_api()
        await forward.kubectl.says("lost connection to pod")


async def test_an_api_server_frozen(tunnel: Client) -> None:
    """Connections are accepted and hang; all goes on as soon as it does."""
    async with forwarding(tunnel, "pod/db-0") as forward, trio.open_nursery() as nursery:
        assert await forward.get() == b"db-0\n"
        tunnel.cluster.pause_api()
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append(await forward.get())

        nursery.start_soon(ask)
        with trio.move_on_after(0.2):
            await tunnel.output("get", "pods")
        assert (answers, forward.kubectl.alive) == ([], True)
        tunnel.cluster.resume_api()
    assert answers == [b"db-0\n"]


async def test_a_client_that_aborts_a_large_download(tunnel: Client) -> None:
    """Up to 1.31 kubectl is wedged by that for good; the cluster isn't, not even when kubectl is killed."""
    async with forwarding(tunnel, "pod/db-0") as forward:
        async with await forward.connect() as stream:
            await stream.send_all(b"GET /bytes/50000000 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200" in await stream.receive_some()
        if tunnel.kubectl.version >= WELL_AFTER_AN_ABORT:
            assert await forward.get() == b"db-0\n"
        else:
            with trio.fail_after(PATIENCE):
                waiting = trio.CancelScope()
                while not waiting.cancelled_caught:
                    with trio.move_on_after(0.2) as waiting:
                        await forward.get()
        forward.kubectl.process.kill()
        await forward.kubectl.exit_code()
    async with forwarding(tunnel, "pod/db-0") as forward:
        assert await forward.get() == b"db-0\n"


async def test_data_swallowed(tunnel: Client) -> None:
    tunnel.cluster.faults.swallow = True
    async with forwarding(tunnel, "pod/db-0") as forward:
        with trio.move_on_after(0.2) as waiting:
            await forward.get()
        assert waiting.cancelled_caught
        assert tunnel.cluster.connections == {}
