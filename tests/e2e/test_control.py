"""The control socket of the real program, with real kubectl: the management scenarios, and bad peers."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from kpf_supervise.sandbox import open_cluster
from tests.kubectls import KUBECTLS, Kubectl
from tests.program import Refused, free_port, get, supervising, until

NEWEST = KUBECTLS[-1]
LAZY = 'forwards: {it: {target: service/web, ports: ":http", lazy: true}}'
ONE = 'forwards: {one: {target: service/web, ports: ":http"}}'
SPECIFIED = {
    "id": str,
    "resourceType": str,
    "name": str,
    "namespace": str,
    "localPort": int,
    "remotePort": int,
    "active": bool,
}


def start(name: str = "db-0", local_port: int = 0, remote_port: int | str = 8080, **more: object) -> dict[str, object]:
    """The specification's parameters of portforward:start."""
    given = {"resource_type": "pod", "name": name, "namespace": "dev", "local_port": local_port}
    return given | {"remote_port": remote_port} | more


async def test_a_client_written_from_the_specification_alone(tmp_path: Path) -> None:
    """The one of docs/control-protocol.md, run as it is shown: it starts a forward, lists and stops it."""
    page = (Path(__file__).parent.parent.parent / "docs/control-protocol.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    script = script.replace("18080", str(free_port()))
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, ONE) as instance:
            await instance.all_active("one")
            words = [sys.executable, "-c", script, str(instance.socket)]
            done = await trio.run_process(words, capture_stdout=True, stdin=b"")
            await instance.until("stopped", "web")
    (listed,) = [each for each in json.loads(done.stdout) if each["id"] == "web"]
    assert {name: type(listed[name]) for name in SPECIFIED} == SPECIFIED
    assert (listed["resourceType"], listed["name"], listed["namespace"], listed["remotePort"]) == (
        "service",
        "web",
        "dev",
        80,
    )


async def test_one_is_active_and_another_is_created_and_both_serve(tmp_path: Path) -> None:
    port = free_port()
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, ONE) as instance:
            await instance.all_active("one")
            async with instance.peer() as peer:
                await peer.call("subscribe")
                assert await peer.call("portforward:start", **start(local_port=port)) == "db-0"
                # the id comes once the port is bound: whoever connects now is held
                assert await get(port) == b"db-0\n"
                assert (await get(instance.port("one"))).startswith(b"web-")
                told = await peer.event("active", "db-0")
                assert told["message"].startswith(f"localhost:{port} → pod/db-0")
                listed = await peer.list()
    assert [listed[name]["active"] for name in ("one", "db-0")] == [True, True]
    assert {name: listed["db-0"][name] for name in SPECIFIED} == {
        "id": "db-0",
        "resourceType": "pod",
        "name": "db-0",
        "namespace": "dev",
        "localPort": port,
        "remotePort": 8080,
        "active": True,
    }
    assert (listed["db-0"]["pod"], listed["db-0"]["context"], listed["one"]["remotePort"]) == ("db-0", "sandbox", 8080)


async def test_stopping_one_leaves_the_others_download_whole(tmp_path: Path) -> None:
    size = 30_000_000
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, ONE) as instance, instance.peer() as peer:
            await instance.all_active("one")
            await peer.call("portforward:start", **start(id="two"))
            await instance.all_active("one", "two")
            ports = {name: each["localPort"] for name, each in (await peer.list()).items()}
            whole = hashlib.sha256(await get(ports["two"], f"/bytes/{size}")).digest()
            async with await trio.open_tcp_stream("127.0.0.1", ports["two"]) as stream:
                await stream.send_all(f"GET /bytes/{size} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
                body = bytearray(await stream.receive_some())
                await peer.call("portforward:stop", id="one")
                with pytest.raises(OSError, match=str(ports["one"])):
                    await trio.open_tcp_stream("127.0.0.1", ports["one"])
                async for chunk in stream:
                    body += chunk
            assert hashlib.sha256(body.partition(b"\r\n\r\n")[2]).digest() == whole
            listed = await peer.list()
            assert (listed["one"]["state"], listed["two"]["active"]) == ("stopped", True)
            assert instance.kinds("two") == ["connecting", "active"]


async def test_stop_all_ends_every_forward_and_no_instance(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, ONE) as instance, instance.peer() as peer:
            await peer.call("portforward:start", **start())
            await instance.all_active("one", "db-0")
            assert await peer.call("stop_all") is None
            assert instance.kubectls() == []
            assert {name: each["state"] for name, each in (await peer.list()).items()} == {"one": "stopped"}
            await peer.call("restart", id="one")
            await instance.until("stopped", "one")
            active = await instance.until("active", "one")
            assert (await get(active["port"])).startswith(b"web-")


async def test_a_taken_port_is_the_calls_error_and_leaves_nothing(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, ONE) as instance, instance.peer() as peer:
            await instance.all_active("one")
            before, children = await peer.list(), len(instance.children())
            with socket.create_server(("127.0.0.1", 0)) as holder:
                port = holder.getsockname()[1]
                with pytest.raises(Refused, match=f"port {port} on 127.0.0.1 .* in use by pid {os.getpid()} "):
                    await peer.call("portforward:start", **start(local_port=port))
            own = before["one"]["localPort"]
            with pytest.raises(Refused, match=f"local port {own} is already in use by the forward one") as error:
                await peer.call("portforward:start", **start(local_port=own))
            assert error.value.code == -32002
            assert (set(await peer.list()), len(instance.children())) == (set(before), children)
            with pytest.raises(Refused, match="there is a forward one already"):
                await peer.call("portforward:start", **start(id="one"))
            assert await peer.call("portforward:start", **start(local_port=port)) == "db-0"  # the holder is gone


async def test_a_stopped_one_of_the_file_stays_so_until_its_lines_change(tmp_path: Path) -> None:
    text = "forwards: {one: {target: service/web, ports: '%d:http'}, two: {target: service/web, ports: ':http'}}"
    text %= free_port()
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, text) as instance, instance.peer() as peer:
            await instance.all_active("one", "two")
            await peer.call("portforward:stop", id="one")
            file = tmp_path / "config.yaml"
            file.write_text(text + "\n# a word\n")
            assert await peer.call("reload") is None
            assert (await peer.list())["one"]["state"] == "stopped"
            file.write_text(text.replace("service/web", "statefulset/db", 1))
            await peer.call("reload")
            await instance.until("active", "one")
            assert await get((await peer.list())["one"]["localPort"]) == b"db-0\n"
            assert instance.kinds("two") == ["connecting", "active"]
            file.write_text("forwards: {one: {target: nosuch/web, ports: 80}}")
            with pytest.raises(Refused, match=r"nothing has changed\n.*config.yaml:1:26: forwards.one.target: "):
                await peer.call("reload")
            await instance.told(lambda: any("config.yaml:1:26: " in each["message"] for each in instance.events))
            assert (await peer.list())["one"]["active"]


async def test_an_edit_of_other_options_keeps_the_port_open(tmp_path: Path) -> None:
    """Nobody is refused while a forward is restarted with new settings, also on a port that was any free one."""
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, ONE) as instance, instance.peer() as peer:
            await instance.all_active("one")
            port = instance.port("one")
            refused = []

            async def knock(scope: trio.CancelScope) -> None:
                while not scope.cancel_called:
                    try:
                        assert (await get(port))[:2] in (b"we", b"db", b"")
                    except OSError as error:
                        refused.append(error)

            async with trio.open_nursery() as nursery:
                over = trio.CancelScope()
                nursery.start_soon(knock, over)
                for target in ("statefulset/db", "service/web", "statefulset/db"):
                    (tmp_path / "config.yaml").write_text(ONE.replace("service/web", target))
                    await peer.call("reload")
                    await instance.until("active", "one")
                over.cancel()
            assert refused == []
            assert (await peer.list())["one"]["localPort"] == port


async def test_restart_takes_a_fresh_kubectl_and_holds_who_comes(kubectl: Kubectl, tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, ONE) as instance, instance.peer() as peer:
            await instance.until("active", "one")
            (before,) = instance.kubectls()
            for _ in range(3):
                await peer.call("restart", id="one")
                assert not (await peer.list())["one"]["active"]
                assert (await get(instance.port("one"))).startswith(b"web-")
            await instance.until("active", "one")
            assert before.pid not in {child.pid for child in instance.kubectls()}
            cluster.faults.hang_upgrade()  # also while its kubectl is starting
            await peer.call("restart", id="one")
            await instance.until("connecting", "one")
            cluster.faults.clear()
            await peer.call("restart", id="one")
            assert (await get(instance.port("one"))).startswith(b"web-")
            await until(lambda: len(instance.kubectls()) <= 1)


async def test_subscribe_gives_a_snapshot_and_all_that_follows(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, ONE) as instance:
            await instance.all_active("one")
            async with instance.peer() as peer, instance.peer() as other:
                (snapshot,) = await peer.call("subscribe")
                assert (snapshot["id"], snapshot["state"]) == ("one", "active")
                await other.call("portforward:start", **start())
                added = await peer.event("added")
                assert (added["forward"], added["portForward"]["declared"]) == ("db-0", False)
                assert (await peer.event("kubectl"))["message"].startswith("Forwarding from")
                active = await peer.event("active")
                assert active["portForward"]["active"]
                await other.call("portforward:stop", id="db-0")
                assert (await peer.event("stopped"))["forward"] == "db-0"
                assert (await peer.event("removed"))["portForward"] is None
                assert len(await other.call("subscribe", counters=True)) == 1
                assert await get(instance.port("one"))
                counted = None
                while counted is None:  # messages of one second may come before its bytes
                    told = (await other.next())["params"].get("portForwards", ())
                    counted = next((each["id"] for each in told if each["bytesIn"]), None)
                assert counted == "one"
                log = await peer.call("logs", id="one")
                assert [each["event"] for each in log] == ["connecting", "kubectl", "active"]
                assert log[1]["message"].startswith("Forwarding from 127.0.0.1:")
                assert {"removed", "kubectl"}.isdisjoint(each["event"] for each in await peer.call("events"))


async def test_shutdown_ends_the_instance_and_tells_when(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, ONE) as instance, instance.peer() as peer:
            await instance.all_active("one")
            children, path = instance.children(), instance.socket
            assert await peer.call("shutdown") is None
            assert await peer.next() is None
            with trio.fail_after(10):
                assert await instance.process.wait() == 0
            assert [each for each in children if each.is_running()] == []
            assert not path.exists()


async def test_the_file_may_take_over_what_was_started_beside_it(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, ONE) as instance, instance.peer() as peer:
            await instance.all_active("one")
            for id in ("same", "other"):
                await peer.call("portforward:start", **start(id=id))
            await instance.all_active("one", "same", "other")
            rows = {
                "same": "{target: pod/db-0, namespace: dev, ports: ':8080'}",
                "other": "{target: pod/db-0, namespace: dev, ports: ':8080', hold: 1s}",
            }
            more = "".join(f", {id}: {row}" for id, row in rows.items())
            (tmp_path / "config.yaml").write_text(ONE.replace("}}", f"}}{more}}}"))
            await peer.call("reload")
            await instance.until("stopped", "other")
            await instance.until("active", "other")
            assert instance.kinds("same") == ["connecting", "active"]  # with its connections
            listed = await peer.list()
            assert [listed[id]["declared"] for id in rows] == [True, True]
            notices = [e["message"] for e in instance.events if e["event"] == "notice"]
            assert [text for text in notices if "the file declares it now" in text] == [
                "other: the file declares it now, which replaces the one that kpfctl started"
            ]
