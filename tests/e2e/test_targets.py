"""Each kind of target, with real kubectl: traffic flows, the pod is deleted under load, and no request is lost."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trio
import trio.testing

from kpf_supervise.sandbox import Cluster, Timing, open_cluster
from tests.kubectls import KUBECTLS, Kubectl
from tests.load import Load
from tests.program import get, supervising, until


async def run_kubectl(kubectl: Kubectl, cluster: Cluster, *words: str) -> str:
    done = await trio.run_process(
        [kubectl.path, f"--kubeconfig={cluster.kubeconfig}", *words], capture_stdout=True, stdin=b""
    )
    return done.stdout.decode()


TARGETS = {
    "a pod of a deployment": ("target: pod/{web}", "http", "web"),
    "a service by port name": ("target: service/web", "http", "web"),
    "a service by number": ("target: svc/web", "80", "web"),
    "a deployment": ("target: deployment/web", "8080", "web"),
    "a statefulset": ("target: statefulset/db", "http", "db"),
    "a pod of a statefulset": ("target: pod/db-0", "8080", "db"),
    "a replicaset": ("target: rs/{rs}", "8080", "web"),
    "a selector": ('selector: "app=web"', "8080", "web"),
}


@pytest.mark.parametrize("case", TARGETS)
async def test_a_deleted_pod_costs_no_request(case: str, tmp_path: Path) -> None:
    """kubectl itself is only ever told a pod; what each version does then is in the matrix of faults."""
    kubectl = KUBECTLS[-1]
    target, remote, app = TARGETS[case]
    async with open_cluster(tmp_path) as cluster:
        web = cluster.pods(app="web")[0]["metadata"]["name"]
        rs = cluster.pods(app="web")[0]["metadata"]["ownerReferences"][0]["name"]
        config = f"""
            forwards:
              it:
                {target.format(web=web, rs=rs)}
                ports: ":{remote}"
            """
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
            active = await instance.until("active", "it")
            load = Load(instance.port("it"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                await load.more(20)
                assert set(load.answers) == {active["pod"]}
                uid = uid_of(cluster, active["pod"])
                await run_kubectl(kubectl, cluster, "delete", "pod", active["pod"], "--wait=false")
                moved = await instance.until("moved", "it")
                assert uid_of(cluster, moved["pod"]) != uid
                await load.more(20)
                assert set(load.answers[-10:]) == {moved["pod"]}
                nursery.cancel_scope.cancel()
            assert load.failures == []
            assert set(instance.kinds("it")) <= {"connecting", "active", "moved", "waiting"}
            if app == "web":  # another pod was ready: nobody waited longer than a kubectl takes to start
                assert "waiting" not in instance.kinds("it")


def uid_of(cluster: Cluster, name: str) -> str:
    return next(str(pod["metadata"]["uid"]) for pod in cluster.pods() if pod["metadata"]["name"] == name)


async def test_a_rollout_costs_no_request(kubectl: Kubectl, tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        config = "forwards: {web: {target: deployment/web, ports: ':http'}}"
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
            await instance.until("active", "web")
            old = {pod["metadata"]["name"] for pod in cluster.pods(app="web")}
            load = Load(instance.port("web"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                await load.more(20)
                await run_kubectl(kubectl, cluster, "rollout", "restart", "deployment/web")
                await load.until(lambda: not set(load.answers[-20:]) & old)
                nursery.cancel_scope.cancel()
            assert load.failures == []


async def test_why_a_pod_was_left_is_told_though_it_is_gone_by_then(tmp_path: Path) -> None:
    async with open_cluster(tmp_path, Timing(terminate=0.1)) as cluster:
        config = "forwards: {web: {target: service/web, ports: ':http'}}"
        async with supervising(tmp_path, KUBECTLS[-1], cluster.kubeconfig, config) as instance:
            active = await instance.until("active", "web")
            cluster.faults.upgrade_delay = 1.0
            cluster.delete_pod(active["pod"])
            moved = await instance.until("moved", "web")
            assert active["pod"] not in {pod["metadata"]["name"] for pod in cluster.pods()}
            assert moved["message"].startswith(f"{active['pod']} is terminating → ")


@pytest.mark.parametrize("order", ["the service first", "the pods first"])
async def test_a_service_that_is_switched_to_other_pods_is_followed(order: str, tmp_path: Path) -> None:
    """As a blue-green deployment does it, and Argo Rollouts: no pod tells of it."""
    kubectl = KUBECTLS[-1]
    switch = ("patch", "service", "web", "-p", '{"spec": {"selector": {"app": "search"}}}')
    async with open_cluster(tmp_path) as cluster:
        config = "forwards: {web: {target: service/web, ports: ':http'}}"
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
            await instance.until("active", "web")
            load = Load(instance.port("web"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                await load.more(5)
                if order == "the service first":
                    await run_kubectl(kubectl, cluster, *switch)
                cluster.scale("deployment/web", 0)
                if order == "the pods first":
                    await instance.until("waiting", "web")
                    await run_kubectl(kubectl, cluster, *switch)
                moved = await instance.until("moved", "web")
                assert moved["pod"].startswith("search-")
                await load.more(5)
                nursery.cancel_scope.cancel()
            assert load.failures == []


@pytest.mark.long
async def test_a_selector_that_was_fixed_is_seen_however_slow_the_answer(tmp_path: Path) -> None:
    """As with a credential plugin that takes its time at each question."""
    async with open_cluster(tmp_path) as cluster:
        cluster.store.update("services", "dev", "web", lambda web: web["spec"].update(selector={"app": "nosuch"}))
        config = "forwards: {web: {target: service/web, ports: ':http'}}"
        async with supervising(tmp_path, KUBECTLS[-1], cluster.kubeconfig, config) as instance:
            await instance.until("waiting", "web")
            cluster.faults.latency = 2.5
            cluster.store.update("services", "dev", "web", lambda web: web["spec"].update(selector={"app": "web"}))
            await instance.until("connecting", "web")  # a pod of the new ones was chosen
            cluster.faults.latency = 0.0
            await instance.until("active", "web")


async def test_while_a_target_is_read_anew_a_pod_that_it_had_before_is_used(tmp_path: Path) -> None:
    """An answer is waited for 15 s."""
    async with open_cluster(tmp_path) as cluster:
        cluster.scale("deployment/web", 0)
        config = "forwards: {web: {target: service/web, ports: ':http'}}"
        async with supervising(tmp_path, KUBECTLS[-1], cluster.kubeconfig, config) as instance:
            await instance.until("waiting", "web")
            cluster.faults.slow, cluster.faults.latency = re.compile("/services/web$"), 60.0
            asked, path = len(cluster.requests), "/api/v1/namespaces/dev/services/web"
            await until(lambda: any(each.path == path for each in list(cluster.requests)[asked:]))
            cluster.scale("deployment/web", 1)
            with trio.fail_after(14):
                await instance.until("connecting", "web")


async def test_while_it_waits_a_service_that_is_gone_is_named_and_one_that_is_back_is_used(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        config = "forwards: {web: {target: service/web, ports: ':http'}}"
        async with supervising(tmp_path, KUBECTLS[-1], cluster.kubeconfig, config) as instance:
            await instance.until("active", "web")
            service = cluster.store.remove("services", "dev", "web")
            cluster.scale("deployment/web", 0)
            await instance.told(lambda: 'there is no service "web"' in instance.events[-1]["message"])
            assert instance.events[-1]["event"] == "waiting"
            async with await trio.open_tcp_stream("127.0.0.1", instance.port("web")) as held:
                await held.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                cluster.store.add("services", service)
                await instance.told(lambda: "no ready pod: it has no pods" in instance.events[-1]["message"])
                cluster.scale("deployment/web", 1)
                assert b"web-" in await held.receive_some()


async def test_many_services_are_read_by_one_kubectl_that_needs_no_right_to_list_them(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        service = cluster.store.get("services", "dev", "web")
        names = [f"shop-{number}" for number in range(8)]
        for name in names:
            cluster.store.add("services", {**service, "metadata": {"name": name, "namespace": "dev"}})
        cluster.faults.forbid("list", "services")
        lines = "".join(f"  {name}: {{target: service/{name}, ports: ':http'}}\n" for name in [*names, "missing"])
        config = f"forwards:\n{lines}  again: {{target: service/missing, ports: ':http'}}\n"
        async with supervising(tmp_path, KUBECTLS[-1], cluster.kubeconfig, config) as instance:
            await instance.all_active(*names)
            await instance.all_last("failed", "missing", "again")
            failed = next(e for e in instance.events if e["event"] == "failed")
            assert 'there is no service "missing" in namespace dev' in failed["message"]
            asked = [each.path for each in cluster.requests if "/services/" in each.path]
            services = "/api/v1/namespaces/dev/services"
            assert {*asked} == {f"{services}/{name}" for name in [*names, "missing"]}
            assert len(instance.kubectls("proxy")) == 1


async def test_an_open_connection_runs_on_while_new_ones_move(kubectl: Kubectl, tmp_path: Path) -> None:
    """Make before break: a terminating pod serves what it has begun."""
    async with open_cluster(tmp_path, Timing(terminate=30)) as cluster:
        config = "forwards: {web: {target: service/web, ports: ':http'}}"
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
            active = await instance.until("active", "web")
            port = instance.port("web")
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert active["pod"].encode() in await stream.receive_some()
                await run_kubectl(kubectl, cluster, "delete", "pod", active["pod"], "--wait=false")
                moved = await instance.until("moved", "web")
                assert (await get(port)).decode().strip() == moved["pod"]
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert active["pod"].encode() in await stream.receive_some()


async def test_two_ports_under_one_name_and_a_tcp_service(kubectl: Kubectl, tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        config = """
            forwards:
              web: {target: service/web, ports: [":http", ":echo"]}
              db: {target: statefulset/db, ports: ":db"}
            """
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
            await instance.all_active("web/http", "web/echo", "db")
            assert re.match("web-", (await get(instance.port("web/http"))).decode())
            for forward in ("web/echo", "db"):
                for host in ("127.0.0.1", "::1"):
                    async with await trio.open_tcp_stream(host, instance.port(forward)) as stream:
                        await stream.send_all(b"over and ")
                        await stream.send_all(b"out")
                        await stream.send_eof()
                        assert b"".join([chunk async for chunk in stream]) == b"over and out"
            assert len(instance.kubectls()) == 3
            assert len(instance.kubectls("proxy")) == 1, "one watch for all forwards of a namespace"
