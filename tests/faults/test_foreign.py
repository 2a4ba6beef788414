"""Answers that are none of the API's, or not those that were hoped for: whoever asked is told, nobody else notices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from kpf_supervise.sandbox import Cluster, Timing, open_cluster
from tests.conftest import NEWEST
from tests.load import Load
from tests.program import Instance, get, supervising

ODD = [
    '{"kind":"Status"}',
    "[]",
    '{"metadata":{"name":"odd"},"spec":null}',
    '{"spec":{"selector":{"app":7}}}',
    "<html>log in</html>",
    '{"spec":{"selector":{"app":"\\ud800"}}}',
]


def bugs(instance: Instance) -> list[Any]:
    """What was told as one: what comes from outside is refused where it enters, before it can be a bug."""
    return [*instance.output, *(event for event in instance.events if "traceback" in event)]


async def test_a_target_that_is_none_is_its_own_forwards_failure(tmp_path: Path) -> None:
    odd = [f"odd-{number}" for number in range(len(ODD))]
    config = "namespace: dev\ndefaults: {reconnect: {attempts: 1, initial: 100ms}}\nforwards:\n" + "".join(
        f'  {name}: {{target: service/{name}, ports: ":80"}}\n' for name in ("web", *odd)
    )
    async with open_cluster(tmp_path) as cluster:
        for name, body in zip(odd, ODD, strict=True):
            cluster.faults.answer_with(body, path=f"/services/{name}$")
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance:
            await instance.told(lambda: all("failed" in instance.kinds(name) for name in odd))
            for name in odd:
                failed = next(e for e in instance.events if e.get("forward") == name and e["event"] == "failed")
                assert failed["cause"] == "api-unreachable"
                assert failed["message"].startswith(
                    f"what answered /api/v1/namespaces/dev/services/{name} is no API server, or one that kpf-supervise "
                    "does not understand (no "
                )
            await instance.all_active("web")
            assert await get(instance.port("web"))
            assert bugs(instance) == []


WATCHED = [
    '{"kind":"Status","code":200}',
    "[]",
    "<html>log in</html>",
    '{"type":"ADDED","object":null}',
    '{"type":"MODIFIED","object":{"metadata":7}}',
    '{"type":"ERROR","object":{"message":"\\u001b[31m\\nweb active"}}',
    '{"type":"SPLENDID","object":{}}',
]


def watches(cluster: Cluster) -> int:
    return sum("watch" in request.query for request in cluster.requests)


async def test_a_line_that_is_no_event_ends_that_watch_alone(tmp_path: Path) -> None:
    config = 'forwards: {web: {target: service/web, ports: ":80", namespace: dev}}'
    async with open_cluster(tmp_path, Timing(terminate=5)) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance:
            pod = (await instance.until("active", "web"))["pod"]
            async with trio.open_nursery() as nursery:
                load = Load(instance.port("web"), clients=2)
                nursery.start_soon(load.run)
                for line in WATCHED:
                    await load.more(5)
                    before = watches(cluster)
                    cluster.tell_watches(line)
                    await load.until(lambda before=before: watches(cluster) > before)  # type: ignore[misc]
                    cluster.delete_pod(pod)  # not foreseen before there is a watch again
                    moved = await instance.until("moved", "web")
                    assert moved["pod"] != pod, line
                    pod = moved["pod"]
                await load.more(5)
                nursery.cancel_scope.cancel()
            assert load.failures == []
            assert bugs(instance) == []
            assert all("\x1b" not in json.dumps(event, ensure_ascii=False) for event in instance.events)


async def test_a_pod_that_can_not_be_read_is_left_out_and_told_once(tmp_path: Path) -> None:
    config = 'forwards: {web: {target: service/web, ports: ":80", namespace: dev}}'
    async with open_cluster(tmp_path) as cluster:
        cluster.store.update("pods", "dev", "db-0", lambda pod: pod["metadata"]["labels"].update(odd=7))
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance:
            await instance.all_active("web")
            notice = await instance.until("notice")
            assert notice["message"].startswith("one of the pods in namespace dev can't be read, and is left out (")
            assert await get(instance.port("web"))
            cluster.store.update("pods", "dev", "db-0", lambda pod: pod["metadata"]["labels"].update(more="8"))
            cluster.set_ready(cluster.pods(app="web")[0]["metadata"]["name"], False)
            cluster.set_ready(cluster.pods(app="web")[1]["metadata"]["name"], False)
            await instance.until("waiting", "web")  # it has heard of db-0 before
            assert [event["event"] for event in instance.events].count("notice") == 1


async def test_a_namespace_that_is_forbidden_blocks_no_other_one_when_the_api_server_comes_back(tmp_path: Path) -> None:
    """Whichever of the two asks first."""
    config = """\
        forwards:
          closed: {target: service/web, namespace: closed, ports: ":80"}
          web: {target: service/web, namespace: dev, ports: ":80"}
    """
    async with open_cluster(tmp_path) as cluster:
        cannot = 'User "me" cannot list resource "pods" in API group "" in the namespace "closed"'
        cluster.faults.answer(403, f"pods is forbidden: {cannot}", path="/namespaces/closed/")
        await cluster.stop_api()
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance:
            await instance.until("reconnecting", "web")
            await cluster.start_api()
            await instance.all_active("web")
            assert await get(instance.port("web"))
            await instance.until("failed", "closed", cause="forbidden")


BROKEN = """\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://[fd00::1:6443"}}]
contexts: [{name: broken, context: {cluster: c}}, {name: odd, context: {cluster: c, namespace: "../../../version?"}}]
"""


async def test_a_kubeconfig_with_mistakes_is_its_own_forwards_failure(tmp_path: Path) -> None:
    config = """\
        forwards:
          web: {target: service/web, ports: ":80", namespace: dev}
          broken: {target: service/web, ports: ":80", kubeconfig: broken.yaml, context: broken}
          odd: {target: service/web, ports: ":80", kubeconfig: broken.yaml, context: odd}
          none: {target: service/web, ports: ":80", kubeconfig: broken.yaml}
    """
    (tmp_path / "broken.yaml").write_text(BROKEN)
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance:
            await instance.all_active("web")
            await instance.told(lambda: {"failed", "reconnecting"} & set(instance.kinds("broken")) != set())
            await instance.told(lambda: "failed" in instance.kinds("odd") and "failed" in instance.kinds("none"))
            last = {event["forward"]: event for event in instance.events if event.get("forward")}
            assert "the namespace of the kubeconfig's context odd:" in last["odd"]["message"]
            assert last["none"]["message"].startswith("the kubeconfig has no current context. ")
            assert last["none"]["message"].endswith("It has: broken, odd")
            assert await get(instance.port("web"))
            assert bugs(instance) == []


@pytest.mark.parametrize("named", [None, "/nowhere/config"])
async def test_no_kubeconfig_at_all_is_told_with_where_it_was_looked_for(tmp_path: Path, named: str | None) -> None:
    config = 'forwards: {web: {target: service/web, ports: ":80"}}'
    async with supervising(tmp_path, NEWEST, Path(named) if named else None, config) as instance:
        failed = await instance.until("failed", "web")
        assert failed["cause"] == "no-such-context"
        where = f"$KUBECONFIG is {named}" if named else "~/.kube/config names no context or is not there"
        assert failed["message"].startswith("no kubeconfig was found: ")
        assert where in failed["message"]
