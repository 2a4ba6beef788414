"""The sandbox's credential plugin with raw kubectl: how often it runs, what expires, and what is refused."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest
import trio

from kpf_supervise.sandbox import Cluster, CredentialPlugin, write_kubeconfig
from kpf_supervise.sandbox.tokens import Tokens
from tests.kubectl_client import PATIENCE, Client, forwarding, proxying, running
from tests.kubectls import Kubectl


@pytest.fixture
def plugin(cluster: Cluster, tmp_path: Path) -> CredentialPlugin:
    """The one in the cluster's kubeconfig."""
    made = CredentialPlugin(tmp_path / "plugin")
    write_kubeconfig(cluster.kubeconfig, sandbox=cluster.context(made.user))
    cluster.tokens.ask()
    return made


async def test_each_kubectl_runs_it_once(kubectl: Kubectl, cluster: Cluster, plugin: CredentialPlugin) -> None:
    client = Client(kubectl, cluster)
    for runs in (1, 2):
        assert "db-0" in await client.output("get", "pods")
        assert len(plugin.runs) == runs
    async with forwarding(client, "service/web", ":80") as forward:
        (port,) = forward.ports
        assert (await forward.get(port=port)).startswith(b"web-")
    assert len(plugin.runs) == 3
    assert (plugin.windows, cluster.tokens.refused) == ([], 0)


async def test_it_takes_its_time(client: Client, plugin: CredentialPlugin) -> None:
    plugin.behave(takes=1.0)
    began = trio.current_time()
    await client.output("get", "pods")
    assert trio.current_time() - began >= 1.0


async def test_it_fails_in_given_words(client: Client, plugin: CredentialPlugin) -> None:
    plugin.behave(fails="please run: cloud login")
    done = await client.run("get", "pods")
    assert done.returncode == 1
    assert b"please run: cloud login" in done.stderr
    assert b"failed with exit code 1" in done.stderr
    assert not client.cluster.requests
    plugin.behave(fails="")
    await client.output("get", "pods")


async def test_it_opens_a_window_and_waits_for_its_user(client: Client, plugin: CredentialPlugin) -> None:
    async with AsyncExitStack() as stack:
        with plugin.window():
            kubectls = [await stack.enter_async_context(running(client, "get", "pods")) for _ in range(2)]
            for kubectl in kubectls:
                await kubectl.says("opening a window")
            assert len(plugin.windows) == 2, "each opens its own"
            assert not client.cluster.requests
        for kubectl in kubectls:
            assert await kubectl.exit_code() == 0
    await client.output("get", "pods")
    assert len(plugin.windows) == 2


async def test_it_outlives_a_kubectl_that_is_ended(client: Client, plugin: CredentialPlugin) -> None:
    with plugin.window():
        async with running(client, "get", "pods") as kubectl:
            await kubectl.says("opening a window")
        assert not kubectl.alive
        (left,) = (psutil.Process(pid) for pid in plugin.windows)
        assert left.is_running()
    await trio.to_thread.run_sync(left.wait, PATIENCE)


async def test_its_token_is_renewed_whenever_it_expires(client: Client, plugin: CredentialPlugin) -> None:
    """A kubectl that lives on runs it again in time, so that nothing is refused."""
    plugin.behave(lifetime=2.0)
    async with proxying(client) as proxy:
        with trio.fail_after(PATIENCE):
            while len(plugin.runs) < 3:
                assert (await proxy.ask("/version"))[0] == 200
                await trio.sleep(0.05)
    assert client.cluster.tokens.refused == 0


async def test_a_revoked_token_is_refused_and_kubectl_asks_for_another(
    client: Client, plugin: CredentialPlugin
) -> None:
    async with proxying(client) as proxy:
        assert (await proxy.ask("/version"))[0] == 200
        client.cluster.tokens.revoke()
        assert (await proxy.ask("/version"))[0] == 401
        assert (await proxy.ask("/version"))[0] == 200
    assert (len(plugin.runs), client.cluster.tokens.refused) == (2, 1)


async def test_a_token_of_a_name_is_accepted_until_it_is_revoked(client: Client) -> None:
    cluster = client.cluster
    today, before = cluster.context({"token": "of-today"}), cluster.context({"token": "of-yesterday"})
    write_kubeconfig(cluster.kubeconfig, today=today, before=before)
    assert await client.output("get", "--context=before", "pods"), "no token is asked for"
    cluster.tokens.add("of-today")
    assert await client.output("get", "pods", "-o", "name", "db-0") == "pod/db-0\n"
    refused = await client.run("--context=before", "get", "pods")
    assert b"You must be logged in to the server" in refused.stderr
    cluster.tokens.revoke()
    assert (await client.run("get", "pods")).returncode == 1


def test_an_issued_token_is_valid_from_its_start_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("kpf_supervise.sandbox.tokens.time.time", lambda: now)
    tokens = Tokens()
    assert tokens.accept("")
    tokens.ask()
    for now, valid in [(99.0, False), (100.0, True), (104.9, True), (105.0, False)]:
        assert tokens.accept("Bearer sandbox-100.000000-105.000000-00ff") is valid, now
    now = 102.0
    tokens.revoke()
    assert not tokens.accept("Bearer sandbox-100.000000-105.000000-00ff")
    assert tokens.accept("Bearer sandbox-102.000000-105.000000-00ff") is False
    assert tokens.refused == 4
    assert not tokens.accept("Bearer ")
