"""What a user may not do, or is not known for, with real kubectl: the cause, the rule to ask for, the recovery."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from kpf_supervise.sandbox import open_cluster
from tests.conftest import both
from tests.kubectls import Kubectl
from tests.program import get, supervising

REFUSED = {
    401: "unauthorized",
    403: "forbidden",
    404: "upgrade-refused",
    409: "upgrade-refused",
    503: "upgrade-refused",
}


async def test_an_upgrade_that_is_refused(kubectl: Kubectl, tmp_path: Path) -> None:
    config = 'forwards: {it: {target: service/web, ports: ":http", reconnect: {initial: 50ms}}}'
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance, instance.peer() as peer:
            for status, cause in REFUSED.items():
                cluster.faults.refuse_upgrade(status)
                before = len(instance.kinds("it"))
                await peer.call("restart", id="it")
                failed = await instance.until("failed", "it")
                assert failed["cause"] == cause, (status, failed)
                tries = instance.kinds("it")[before:].count("reconnecting")
                assert tries == (0 if cause in ("unauthorized", "forbidden") else 3), status


async def test_forbidden_names_the_rule_to_ask_for(kubectl: Kubectl, tmp_path: Path) -> None:
    config = 'forwards: {it: {target: service/web, ports: ":http"}}'
    async with open_cluster(tmp_path) as cluster:
        cluster.faults.forbid("get", "services")
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance, instance.peer() as peer:
            failed = await instance.until("failed", "it", cause="forbidden")
            assert "may not get services in namespace dev" in failed["message"]
            cluster.faults.clear()
            for verb in ("get", "create"):  # kubectl from 1.30 on may ask with GET
                cluster.faults.forbid(verb, "pods/portforward")
            await peer.call("restart", id="it")
            failed = await instance.until("failed", "it", cause="forbidden")
            assert "may not create pods/portforward in namespace dev" in failed["message"]


@both
async def test_without_the_right_to_watch_it_works_on_its_childs_end_alone_until_it_is_given(
    kubectl: Kubectl, tmp_path: Path
) -> None:
    async with open_cluster(tmp_path) as cluster:
        cluster.faults.forbid("watch", "pods")
        config = """
            forwards:
              one: {target: service/web, ports: ":http"}
              two: {target: statefulset/db, ports: ":http"}
            """
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
            await instance.all_active("one", "two")
            await instance.told(lambda: "notice" in [e["event"] for e in instance.events])
            active = next(e for e in instance.events if e.get("forward") == "one" and e["event"] == "active")
            cluster.delete_pod(active["pod"])
            with trio.fail_after(20):
                answer = b""
                while not answer or answer.decode().strip() == active["pod"]:
                    answer = await get(instance.port("one"))
            notices = [e["message"] for e in instance.events if e["event"] == "notice"]
            assert len(notices) == 1
            assert "may not watch pods in namespace dev" in notices[0]

            cluster.faults.allow("watch", "pods")
            async with instance.peer() as peer:
                await peer.call("restart", id="two")  # asks for it again
            await instance.until(
                "notice", message="pods in namespace dev are followed from now on: that is allowed now"
            )
            await instance.all_last("active", "two")
            cluster.delete_pod("db-0")
            await instance.until("waiting", "two", cause="no-ready-pod")


@both
async def test_without_the_right_to_list_a_pod_named_in_full_works(kubectl: Kubectl, tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        cluster.faults.forbid("watch", "pods")
        cluster.faults.forbid("list", "pods")
        config = 'forwards: {it: {target: pod/db-0, ports: ":8080"}}'
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
            await instance.until("active", "it")
            assert await get(instance.port("it")) == b"db-0\n"


@both
async def test_a_namespace_that_is_not_there(kubectl: Kubectl, tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        config = "forwards: {it: {target: pod/web, namespace: nosuchns, ports: '0:80'}}"
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
            failed = await instance.until("failed", "it", cause="no-such-namespace")
            assert failed["message"] == "there is no namespace nosuchns. See: kubectl --context=sandbox get namespaces"


@both
async def test_credentials_that_are_not_accepted(kubectl: Kubectl, tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        cluster.faults.answer(401)
        config = "forwards: {it: {target: service/web, ports: ':http'}}"
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
            failed = await instance.until("failed", "it", cause="unauthorized")
            assert "does not accept your credentials" in failed["message"]
            cluster.faults.clear()
            await instance.until("active", "it")
