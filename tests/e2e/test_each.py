"""`each: true`, a forward for each pod of a target, with real kubectl."""

from __future__ import annotations

import sys
from pathlib import Path

from kpf_supervise.sandbox import Timing, open_cluster
from tests.conftest import NEWEST
from tests.e2e.test_command import run
from tests.e2e.test_services import told
from tests.program import free_port, get, supervising


async def test_each_pod_of_a_stateful_set_has_its_forward_through_scaling_and_deletion(tmp_path: Path) -> None:
    port = free_port()
    config = f"forwards: {{db: {{target: statefulset/db, ports: '{port}:http', each: true}}}}"
    async with open_cluster(tmp_path, Timing(terminate=0.1)) as cluster:
        cluster.scale("statefulset/db", 2)
        await cluster.settled()
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance, instance.peer() as peer:
            assert await told(instance, "db: ") == "db: statefulset/db has 2 pods: db/0, db/1"
            await instance.all_active("db/0", "db/1")
            assert [await get(port + number) for number in range(2)] == [b"db-0\n", b"db-1\n"]

            cluster.delete_pod("db-0", grace=0)
            waiting = await instance.until("waiting", "db/0")
            assert "pod/db-0 has no ready pod" in waiting["message"]
            assert (await peer.list())["db/0"]["declared"]
            assert await get(port) == b"db-0\n", "held until it is back"
            assert await get(port + 1) == b"db-1\n"
            assert instance.kinds("db/1") == ["connecting", "active"]

            cluster.delete_pod("db-1")  # the last one of the set; its pod has ended for a moment before it is gone
            await instance.until("waiting", "db/1")
            assert await get(port + 1) == b"db-1\n", "held until it is back"
            assert {each["message"] for each in instance.events if each["event"] == "notice"} == {
                "db: statefulset/db has 2 pods: db/0, db/1"
            }

            cluster.scale("statefulset/db", 3)
            assert await told(instance, "came") == "db: db/2 came"
            await instance.until("active", "db/2")
            assert await get(port + 2) == b"db-2\n"
            cluster.scale("statefulset/db", 1)
            gone = await told(instance, "went")
            while not ("db/1" in gone and "db/2" in gone):  # one by one, or both at once
                gone += await told(instance, "went")
            assert list(await peer.list()) == ["db/0"]
            assert "failed" not in {each["event"] for each in instance.events}


async def test_pods_without_ordinals_have_numbers_and_keep_them(tmp_path: Path) -> None:
    config = "forwards: {web: {target: service/web, ports: [':http', ':echo'], each: true, lazy: true}}"
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance, instance.peer() as peer:
            await told(instance, "web: service/web has 2 pods: web/0/http, web/1/http, web/0/echo, web/1/echo")
            before = await peer.list()
            names = {id: each["name"] for id, each in before.items()}
            for id in ("web/0/http", "web/1/http"):
                assert (await get(before[id]["localPort"])).decode().strip() == names[id]
            cluster.delete_pod(names["web/0/http"], grace=0)
            while (after := await peer.list()).keys() != before.keys() or after["web/0/http"]["name"] == names[
                "web/0/http"
            ]:
                await instance.news.wait()
            assert (await get(after["web/0/http"]["localPort"])).decode().strip() == after["web/0/http"]["name"]
            assert after["web/1/http"]["localPort"] == before["web/1/http"]["localPort"]
            assert after["web/1/http"]["name"] == names["web/1/http"]


async def test_a_command_waits_for_the_pods_or_is_told_what_there_is_not(tmp_path: Path) -> None:
    script = "import os, urllib.request as r; print(r.urlopen('http://' + os.environ['KPF_DB_0_ADDR']).read())"
    config = "forwards: {db: {target: statefulset/db, ports: ':http', each: true}}"
    async with open_cluster(tmp_path) as cluster:
        done = await run(tmp_path, cluster, config, "--", sys.executable, "-c", script)
        assert (done.returncode, done.stdout) == (0, b"b'db-0\\n'\n"), done.stderr
        done = await run(tmp_path, cluster, config.replace("set/db", "set/bd"), "--", sys.executable, "-c", script)
        assert (done.returncode, done.stdout) == (1, b"")
        assert b'there is no statefulset "bd"' in done.stderr
        cluster.faults.forbid("*", "pods")
        done = await run(tmp_path, cluster, config, "--", sys.executable, "-c", script)
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"may not list pods in namespace dev" in done.stderr
