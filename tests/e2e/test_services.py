"""`services:`, whole namespaces, with real kubectl."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil
import pytest
import trio

from kpf_supervise.sandbox import content, open_cluster
from tests.conftest import NEWEST
from tests.e2e.test_command import run
from tests.program import Instance, Peer, free_port, get, supervising


async def told(instance: Instance, text: str) -> str:
    """The next notice with this text in it."""
    while text not in (message := (await instance.until("notice"))["message"]):
        pass
    return str(message)


async def states(peer: Peer) -> dict[str, str]:
    return {id: each["state"] for id, each in (await peer.list()).items()}


async def test_services_are_forwarded_as_they_come_and_go_and_what_the_user_stopped_is_stopped_later(
    tmp_path: Path,
) -> None:
    config = 'services: [{local: free, exclude: "no*", selector: "app in (web, db)"}]\npersist: true'
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance, instance.peer() as peer:
            assert "2 services, 4 ports" in await told(instance, "namespace dev")
            first = await peer.list()
            assert {id: each["state"] for id, each in first.items()} == dict.fromkeys(
                ["dev/db/db", "dev/db/http", "dev/web/http", "dev/web/echo"], "idle"
            )
            assert instance.kubectls() == []
            assert (await get(first["dev/web/http"]["localPort"])).startswith(b"web-")
            assert await get(first["dev/db/http"]["localPort"]) == b"db-0\n"
            await peer.call("portforward:stop", id="dev/db/db")

            await peer.call("subscribe")
            http = {"name": "http", "port": 80, "targetPort": "http"}
            cluster.add_service("aa", http, {"name": "dns", "port": 53, "protocol": "UDP"})
            assert (await peer.event("added"))["portForward"]["id"] == "dev/aa/http"
            assert "dev/aa/dns (UDP" in await told(instance, "can't be forwarded")
            port = (await peer.list())["dev/aa/http"]["localPort"]
            async with await trio.open_tcp_stream("127.0.0.1", first["dev/web/http"]["localPort"]) as open_before:
                assert (await get(port)).startswith(b"web-")
                cluster.remove_service("aa")
                assert (await peer.event("removed"))["forward"] == "dev/aa/http"
                cluster.remove_service("db")
                assert {(await peer.event("removed"))["forward"] for _ in range(2)} == {"dev/db/db", "dev/db/http"}
                with pytest.raises(OSError, match="all attempts to connect"):
                    await get(port)
                await open_before.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert b"".join([part async for part in open_before]).endswith(b"ok"), "nobody else noticed"
            assert {"dev/aa/http", "dev/db/db"}.isdisjoint(await states(peer))

        ports = [{"name": "db", "port": 5432, "targetPort": "db"}, {"name": "http", "port": 8080, "targetPort": "http"}]
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance, instance.peer() as peer:
            assert "1 service, 2 ports" in await told(instance, "namespace dev")
            cluster.add_service("db", *ports, app="db", clusterIP="None")
            await told(instance, "dev/db/db, dev/db/http came")
            second = await peer.list()
            assert {id: each["state"] for id, each in second.items() if "db" in id} == {
                "dev/db/db": "stopped",
                "dev/db/http": "idle",
            }
            assert {id: each["localPort"] for id, each in second.items() if each["listening"]} == {
                id: first[id]["localPort"] for id in second if second[id]["listening"]
            }, "the same at each start"
            await peer.call("restart", id="dev/db/db")
            assert (await states(peer))["dev/db/db"] == "idle"


async def test_the_file_s_forward_has_its_port_and_an_edit_changes_only_what_it_concerns(tmp_path: Path) -> None:
    port = free_port(22_900)  # the service's port 9090 is 9,010 above it
    config = f"services: [{{local: +{port - 80}, exclude: [db, search, no*, ext*], hold: 1s}}]\n"
    forward = f"forwards: {{mine: {{target: statefulset/db, ports: '{port}:http', lazy: true}}}}\n"
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance, instance.peer() as peer:
            await told(instance, "namespace dev")
            assert (await get(port)).startswith(b"web-")
            (tmp_path / "config.yaml").write_text(config + forward)
            await peer.call("reload")
            listed = await peer.list()
            assert (listed["mine"]["state"], listed["dev/web/http"]["state"]) == ("idle", "failed")
            assert listed["dev/web/http"]["error"] == f"local port {port} is already in use by the forward mine"
            assert "local: free" in listed["dev/web/http"]["nextStep"]
            assert "dev/web/http (local port" in await told(instance, "services without a local port")
            assert await get(port) == b"db-0\n"
            await peer.call("subscribe")
            (tmp_path / "config.yaml").write_text(config)
            await peer.call("reload")
            await peer.event("idle", "dev/web/http")
            assert (await get(port)).startswith(b"web-")
            (tmp_path / "config.yaml").write_text("forwards: {mine: {target: statefulset/db, ports: ':http'}}\n")
            await peer.call("reload")
            gone = {(await peer.event("removed"))["forward"] for _ in range(2)}
            assert gone == {"dev/web/http", "dev/web/echo"}
            assert list(await states(peer)) == ["mine"]


async def test_two_services_on_one_port_have_each_their_address(tmp_path: Path) -> None:
    group = "{selector: app=%s, address: each, local: +8000}"
    config = f"services: [{group % 'web'}, {group % 'db'}]"
    async with open_cluster(tmp_path) as cluster:
        cluster.add_service("web2", app="web")
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance, instance.peer() as peer:
            await told(instance, "namespace dev")
            listed = {id: each for id, each in (await peer.list()).items() if id.endswith("/http")}
            assert len({each["address"] for each in listed.values()}) == 3
            ports = {id: each["localPort"] for id, each in listed.items()}
            assert ports == {"dev/web/http": 8080, "dev/web2/http": 8080, "dev/db/http": 16_080}
            for id, each in listed.items():
                answer = await get(each["localPort"], host=each["address"])
                assert answer.startswith(b"db-0" if "db" in id else b"web-")
            shown = (await instance.ctl("env", "-o", "dotenv")).stdout
            assert f"KPF_DEV_WEB2_HTTP_ADDR={listed['dev/web2/http']['address']}:8080" in shown


async def test_a_command_waits_until_the_services_are_listed_or_is_told_why_they_are_not(tmp_path: Path) -> None:
    script = "import os, urllib.request as r; print(r.urlopen('http://' + os.environ['KPF_DEV_WEB_HTTP_ADDR']).read())"
    config = "services: [{local: free}]"
    async with open_cluster(tmp_path) as cluster:
        done = await run(tmp_path, cluster, config, "--", sys.executable, "-c", script)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(b"b'web-")
        cluster.faults.forbid("*", "services")
        done = await run(tmp_path, cluster, config, "--", sys.executable, "-c", "print('never')")
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"you (sandbox) may not list services in namespace dev: services are not followed there" in done.stderr
        assert b"; none of them is forwarded until that is allowed, which is tried every 5 minutes. Ask" in done.stderr
        assert b"resources [services], verbs [list, watch]" in done.stderr or b"verbs [list]" in done.stderr
        cluster.faults.clear()
        done = await run(tmp_path, cluster, "services: [{namespace: devv}]", "--", sys.executable, "-c", "print('ran')")
        assert b"there is no namespace devv" in done.stderr
        done = await run(tmp_path, cluster, "services: [{context: gone}]", "--", sys.executable, "-c", "print('never')")
        assert (done.returncode, b"services of the context's namespace, context gone: " in done.stderr) == (1, True)


@pytest.mark.timeout(120)
async def test_a_thousand_service_ports_are_sockets_and_little_else(tmp_path: Path) -> None:
    config = "services: [{local: free, selector: app=web}]"
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance, instance.peer() as peer:
            await told(instance, "1 service, 2 ports")
            await peer.call("subscribe")
            content.more_services(cluster.store, 499)
            for _ in range(998):
                await peer.event("added")
            used = psutil.Process(instance.process.pid)
            assert used.memory_info().rss < 60 * 2**20
            assert (len(instance.kubectls()), len(instance.kubectls("proxy"))) == (0, 1)
            before = used.cpu_times()
            await trio.sleep(1)
            after = used.cpu_times()
            assert after.user + after.system - before.user - before.system < 0.1
            listed = json.loads((await instance.ctl("list", "-o", "json")).stdout)
            assert len(listed) == 1000
            port = next(each["localPort"] for each in listed if each["id"] == "dev/web-77/http")
            assert (await get(port)).startswith(b"web-")
            assert len(instance.events) < 20, "not one for each of them"
        forwards = [each for each in instance.events if each["event"] != "notice"]
        assert [each["event"] for each in forwards] == ["connecting", "active", "stopped"]
        assert {each["forward"] for each in forwards} == {"dev/web-77/http"}
