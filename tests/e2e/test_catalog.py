"""What the control socket tells of the clusters, with real kubectl: contexts, namespaces, targets and ports."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpf_supervise.sandbox import open_cluster, write_kubeconfig
from tests.conftest import both
from tests.kubectls import KUBECTLS, Kubectl
from tests.program import Refused, supervising

NEWEST = KUBECTLS[-1]
LAZY = 'forwards: {it: {target: service/web, ports: ":http", lazy: true}}'


@both
async def test_what_there_is_to_forward_to(kubectl: Kubectl, tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        other = cluster.context({"token": "sandbox"})
        write_kubeconfig(cluster.kubeconfig, sandbox=other, copy=other)
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, LAZY) as instance, instance.peer() as peer:
            assert await peer.call("contexts") == [
                {"name": "copy", "namespace": "dev", "current": False},
                {"name": "sandbox", "namespace": "dev", "current": True},
            ]
            assert await peer.call("namespaces", context="copy") == ["data", "default", "dev", "kube-system"]
            found = {each["target"]: each["ports"] for each in await peer.call("targets")}
            pods = sorted(f"pod/{pod['metadata']['name']}" for pod in cluster.pods())
            services = [f"service/{name}" for name in ("db", "noendpoints", "search", "web")]
            workloads = ["deployment/search", "deployment/web", "statefulset/db"]
            assert list(found) == [*services, *workloads, *pods]
            assert found["service/web"] == [{"port": 80, "name": "http"}, {"port": 9090, "name": "echo"}]
            assert found["statefulset/db"] == [{"port": 5432, "name": "db"}, {"port": 8080, "name": "http"}]
            for target in ("service/web", "pod/db-0", "deployment/web"):
                assert await peer.call("ports", target=target) == found[target]
            assert await peer.call("ports", target="app=db") == found["statefulset/db"]
            assert await peer.call("targets", namespace="data") == []
            assert len(instance.kubectls("proxy")) == 2  # one for each cluster and user, however much is asked


async def test_what_may_not_be_listed_is_left_out(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, LAZY) as instance, instance.peer() as peer:
            for resource in ("namespaces", "services", "pods"):
                cluster.faults.forbid("list", resource)
            assert await peer.call("namespaces") == ["dev"]
            assert {each["target"].partition("/")[0] for each in await peer.call("targets")} == {
                "deployment",
                "statefulset",
            }
            for resource in ("deployments", "statefulsets", "daemonsets"):
                cluster.faults.forbid("list", resource)
            with pytest.raises(Refused, match=r"you \(sandbox\) may not list services in namespace dev"):
                await peer.call("targets")
            with pytest.raises(Refused, match="the kubeconfig has no context nosuch"):
                await peer.call("namespaces", context="nosuch")
            with pytest.raises(Refused, match='there is no service "nosuch"'):
                await peer.call("ports", target="svc/nosuch")


async def test_another_kubeconfig_than_the_files(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        own = write_kubeconfig(tmp_path / "own", mine=cluster.context({"token": "sandbox"}))
        nothing = write_kubeconfig(tmp_path / "nothing", none=cluster.context({"token": "sandbox"}))
        config = f"context: none\n{LAZY}"
        async with supervising(tmp_path, NEWEST, nothing, config) as instance, instance.peer() as peer:
            assert [each["name"] for each in await peer.call("contexts", kubeconfig=str(own))] == ["mine"]
            assert "dev" in await peer.call("namespaces", kubeconfig=str(own))
            given = {"resource_type": "service", "name": "web", "local_port": 0, "remote_port": "http"}
            await peer.call("portforward:start", **given, kubeconfig=str(own), hold="7s", children=2)
            active = await instance.until("active", "web")
            assert active["pod"].startswith("web-")
            told = await peer.call("describe", id="web")
            assert told["own"] == ["kubeconfig", "hold", "children"]
            assert [told["settings"][name] for name in told["own"]] == [str(own), "7s", 2]
