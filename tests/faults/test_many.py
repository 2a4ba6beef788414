"""More than a dozen things that are wrong at the same time, and one forward that is right beside them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import trio

from kpf_supervise.runtime.paths import name_of
from kpf_supervise.sandbox import Cluster, open_cluster
from tests.conftest import NEWEST
from tests.e2e.test_text import FORGED
from tests.faults.test_foreign import bugs
from tests.load import Load
from tests.program import Refused, supervising

CONFIG = """\
    namespace: dev
    persist: true
    forwards:
      web: {target: service/web, ports: ":80"}
      big: {target: service/web, ports: ":80"}
      status: {target: service/status, ports: ":80"}
      null-spec: {target: deployment/null-spec, ports: ":80"}
      login-page: {target: service/login-page, ports: ":80"}
      closed: {target: service/web, namespace: closed, ports: ":80"}
      stuck: {target: pod/pending, ports: ":80"}
      url: {target: service/web, ports: ":80", kubeconfig: broken.yaml, context: url}
      path: {target: service/web, ports: ":80", kubeconfig: broken.yaml, context: path}
      nowhere: {target: service/web, ports: ":80", context: nowhere}
      udp: {target: service/dns, ports: ":dns"}
      dns: {target: service/dns, ports: ":53"}
"""
BROKEN = """\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://[fd00::1:6443"}}]
contexts: [{name: url, context: {cluster: c}}, {name: path, context: {cluster: c, namespace: "../../../version?"}}]
"""
STATE = {"kpf-supervise state": 1, "started": {"odd": 7, "bad name!": {}}, "stopped": {"web": [], "gone": {}}}
DNS = [
    {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 1},
    {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": "http"},
]
CAUSES = {
    "status": "api-unreachable",
    "null-spec": "api-unreachable",
    "login-page": "api-unreachable",
    "closed": "forbidden",
    "path": "no-such-namespace",
    "nowhere": "no-such-context",
    "udp": "no-such-port",
}


def spoil(cluster: Cluster) -> None:
    store, faults = cluster.store, cluster.faults
    faults.answer_with('{"kind":"Status"}', path="/services/status$")
    faults.answer_with('{"metadata":{},"spec":null}', path="/deployments/null-spec$")
    faults.answer_with("<html>log in</html>", path="/services/login-page$")
    cannot = 'User "me" cannot list resource "pods" in API group "" in the namespace "closed"'
    faults.answer(403, f"pods is forbidden: {cannot}", path="/namespaces/closed/")
    web = store.get("services", "dev", "web")
    store.add(
        "services", {**web, "metadata": {**web["metadata"], "name": "dns"}, "spec": {**web["spec"], "ports": DNS}}
    )
    reason = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": FORGED}}}]}
    store.update("pods", "dev", "pending", lambda pod: pod.update(status=reason))
    store.update("pods", "dev", "db-0", lambda pod: pod["metadata"]["labels"].update(odd=7))


async def read_nothing(port: int) -> None:
    """A client that asks for much and reads none of it."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET /bytes?n=50000000 HTTP/1.1\r\nHost: big\r\n\r\n")
        await trio.sleep_forever()


async def test_none_of_them_is_noticed_by_the_one_that_is_right(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    state = tmp_path / ".local/state/kpf-supervise" / f"{name_of(file)}.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps(STATE))
    (tmp_path / "broken.yaml").write_text(BROKEN)
    async with open_cluster(tmp_path) as cluster:
        spoil(cluster)
        async with supervising(
            tmp_path, NEWEST, cluster.kubeconfig, CONFIG, NOTIFY_SOCKET="/nonexistent/x"
        ) as instance:
            await instance.all_active("web", "big", "dns")
            async with trio.open_nursery() as nursery, instance.peer() as peer:
                load = Load(instance.port("web"))
                nursery.start_soon(load.run)
                await load.more(5)
                for forward, cause in CAUSES.items():
                    await instance.told(
                        lambda forward=forward, cause=cause: any(  # type: ignore[misc]
                            event.get("forward") == forward and event.get("cause") == cause for event in instance.events
                        )
                    )
                await instance.told(lambda: "waiting" in instance.kinds("stuck"))
                await instance.told(lambda: {"failed", "reconnecting"} & set(instance.kinds("url")) != set())
                for _ in range(3):
                    nursery.start_soon(read_nothing, instance.port("big"))
                with pytest.raises(Refused):
                    await peer.call("restart", id="\ud800")
                start: dict[str, Any] = {"resource_type": "service", "name": "web", "local_port": 0, "remote_port": 80}
                with pytest.raises(Refused):
                    await peer.call("portforward:start", **start, context="\ud800")
                one = {"jsonrpc": "2.0", "method": "events", "params": {}}
                await peer.send(json.dumps([{**one, "id": number} for number in range(500)]))
                assert len(await peer.next()) == 500
                cluster.tell_watches('{"kind":"Status"}')
                file.unlink()
                os.mkfifo(file)
                await instance.told(lambda: any("config.yaml" in event["message"] for event in instance.events))
                cluster.delete_pod(cluster.pods(app="web")[0]["metadata"]["name"])
                cluster.delete_pod(cluster.pods(app="web")[1]["metadata"]["name"])
                await load.more(50)
                listed = await peer.list()
                assert listed["web"]["state"] == "active"
                nursery.cancel_scope.cancel()
            assert load.failures == []
            assert "failed" not in instance.kinds("web")
            assert bugs(instance) == []
            assert len(instance.events) < 500
            assert await instance.stop() == 0
            assert json.loads(state.read_text())["kpf-supervise state"] == 1
