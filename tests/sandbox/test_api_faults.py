"""The API of the sandbox cluster when something is wrong with it, to real kubectl."""

from __future__ import annotations

import json

import pytest

from tests.kubectl_client import Client, running
from tests.sandbox.test_faults import PODS


@pytest.mark.parametrize(
    ("how", "code", "last"), [("clean", 0, ""), ("abrupt", 1, "EOF"), ("expired", 0, '"code":410')]
)
async def test_the_end_of_a_watch(how: str, code: int, last: str, client: Client) -> None:
    cluster = client.cluster
    async with running(client, "get", "--raw", PODS) as watch:
        await watch.says("db-0")
        version = cluster.store.version
        cluster.end_watches(how)  # type: ignore[arg-type]
        assert await watch.exit_code() == code
        await watch.says(last)
    if how == "expired":
        again = await client.output("get", "--raw", f"{PODS}&resourceVersion={version}")
        assert json.loads(again)["object"]["reason"] == "Expired"


async def test_forbidden(client: Client) -> None:
    for verb, resource, words, message in [
        ("get", "pods", "port-forward pod/db-0 :80", 'pods "db-0" is forbidden: {} get resource "pods"'),
        ("list", "pods", "port-forward svc/web :80", 'pods is forbidden: {} list resource "pods"'),
        ("get", "services", "port-forward svc/web :80", 'services "web" is forbidden: {} get resource "services"'),
        ("watch", "pods", f"get --raw {PODS}", 'pods is forbidden: {} watch resource "pods"'),
        ("*", "pods/portforward", "port-forward pod/db-0 :80", '{} create resource "pods/portforward"'),
    ]:
        client.cluster.faults.forbid(verb, resource)
        done = await client.run(*words.split())
        assert done.returncode == 1
        expected = message.format('User "sandbox" cannot') + ' in API group "" in the namespace "dev"'
        assert expected in done.stderr.decode()
        client.cluster.faults.clear()


async def test_errors_of_the_api(client: Client) -> None:
    client.cluster.faults.answer(401, path="/pods/db-0$")
    done = await client.run("port-forward", "pod/db-0", ":8080")
    assert done.stderr.decode() == "error: You must be logged in to the server (Unauthorized)\n"
    client.cluster.faults.clear()
    client.cluster.faults.answer(500, "etcd is on fire", path="/services/", times=1)
    done = await client.run("port-forward", "service/web", ":80")
    assert "etcd is on fire" in done.stderr.decode()
