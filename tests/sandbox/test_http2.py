"""The sandbox cluster speaks HTTP/2 over TLS with every kubectl, as a real API server does."""

from __future__ import annotations

import json

import pytest
import trio

from kpf_supervise.sandbox import Cluster
from tests.conftest import NEWEST, OLDEST
from tests.kubectl_client import Client, forwarding, proxying, running
from tests.kubectls import Kubectl
from tests.sandbox.test_faults import PODS

SIZE = 10_000_000  # more than the window that any kubectl opens


def protocols(cluster: Cluster) -> set[str]:
    return {request.protocol for request in cluster.requests}


async def test_questions_listings_and_watches_go_over_http2(kubectl: Kubectl, cluster: Cluster) -> None:
    client = Client(kubectl, cluster)
    assert "db-0" in await client.output("get", "pods")
    async with running(client, "get", "pods", "-o", "name", "--watch") as watch:
        await watch.says("pod/pending")
        cluster.set_ready("db-0", ready=False)
        await watch.says("(?s)pod/db-0.*pod/db-0")
    assert protocols(cluster) == {"HTTP/2"}


@pytest.mark.parametrize("kind", ["spdy", "websocket"])
async def test_port_forwards_go_over_http1_on_the_same_port(kind: str, kubectl: Kubectl, cluster: Cluster) -> None:
    async with forwarding(Client(kubectl, cluster, kind), "service/web", ":80") as forward:
        (port,) = forward.ports
        assert (await forward.get(port=port)).startswith(b"web-")
    upgrades = [request for request in cluster.requests if request.path.endswith("/portforward")]
    assert [request.protocol for request in upgrades] == ["HTTP/1.1"]
    assert {request.protocol for request in cluster.requests if request not in upgrades} == {"HTTP/2"}


async def test_a_large_answer_comes_as_the_client_takes_it(client: Client) -> None:
    client.cluster.faults.answer_with("x" * SIZE, path="^/large$")
    assert await client.output("get", "--raw", "/large") == "x" * SIZE


async def test_a_question_is_answered_beside_open_watches(client: Client) -> None:
    cluster = client.cluster
    async with proxying(client) as proxy, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(proxy.ask, PODS)
        with trio.fail_after(10):
            while len(cluster.requests) < 20:
                await trio.lowlevel.checkpoint()
        status, body = await proxy.ask("/api/v1/namespaces/dev/pods/db-0")
        assert (status, json.loads(body)["metadata"]["name"]) == (200, "db-0")
        nursery.cancel_scope.cancel()
    assert len(cluster.requests) == 21
    assert protocols(cluster) == {"HTTP/2"}


@pytest.mark.parametrize("kubectl", dict.fromkeys([OLDEST, NEWEST]), ids=lambda kubectl: kubectl.label)
async def test_an_api_server_that_stops_in_order_answers_nothing_more(kubectl: Kubectl, cluster: Cluster) -> None:
    """Not even on a connection that was there before; what is under way is answered."""
    client = Client(kubectl, cluster)
    async with proxying(client) as proxy, running(client, "get", "--raw", PODS) as watch:
        assert (await proxy.ask("/version"))[0] == 200
        await watch.says("db-0")
        await cluster.stop_api(keep_tunnels=True)
        assert await watch.exit_code() == 0
        status, body = await proxy.ask("/version")
        assert status >= 500, body
        await proxy.kubectl.says("connection refused")
        await cluster.start_api()
        assert (await proxy.ask("/version"))[0] == 200
