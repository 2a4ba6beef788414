"""Metrics of a running program with a real kubectl, as Prometheus reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from kpf_supervise.sandbox import open_cluster
from tests.kubectls import KUBECTLS
from tests.metrics.reading import OPEN, parsed
from tests.metrics.test_server import ask
from tests.program import PATIENCE, free_port, supervising, until

CONFIG = """
metrics: {metrics}
forwards:
  db: {{target: statefulset/db, namespace: dev, ports: ":5432", hold: {hold}}}
  web: {{target: service/web, namespace: dev, ports: ":http"}}
services:
  namespace: dev
  local: free
"""
Samples = dict[tuple[str, ...], float]


async def scrape(port: int) -> Samples:
    """By the sample's name and its labels but `forward="db"`, in their order."""
    status, headers, body = await ask(port, f"Accept: {OPEN}")
    assert (status, headers["content-type"][:44]) == (200, "application/openmetrics-text; version=1.0.0;")
    return {
        (
            each.name,
            *(value for name, value in sorted(each.labels.items()) if (name, value) != ("forward", "db")),
        ): each.value
        for family in parsed(body).values()
        for each in family.samples
    }


async def echo(port: int, text: bytes) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(text)
        with trio.fail_after(PATIENCE):
            assert await stream.receive_some(100) == text


async def test_what_happens_is_counted_and_edits_touch_no_forward(tmp_path: Path) -> None:
    first, second = free_port(), free_port()
    async with open_cluster(tmp_path) as cluster:
        config = CONFIG.format(metrics=first, hold="30s")
        async with supervising(tmp_path, KUBECTLS[-1], cluster.kubeconfig, config) as instance, instance.peer() as peer:
            await instance.until("notice", message=f"metrics: http://localhost:{first}/metrics")
            await instance.all_active("db", "web")
            port = instance.port("db")
            await until(lambda: cluster.pod("db-0"))
            await echo(port, b"hello")
            listed = await peer.list()
            while not any(id.startswith("dev/") for id in listed):
                listed = await peer.list()
            before = await scrape(first)
            assert before["kpf_forward_state", "active"] == 1
            assert before["kpf_forward_info", "sandbox", "dev", "5432", "statefulset/db"] == 1
            assert before["kpf_forward_connections_total",] == 1
            assert before["kpf_forward_client_to_pod_bytes_total",] == 5
            assert before["kpf_forward_pod_to_client_bytes_total",] == 5
            assert before["kpf_forward_held_seconds_count",] == 1
            assert before["kpf_kubectl_processes", "port-forward"] == len(instance.kubectls()) == 2
            assert before["kpf_kubectl_processes", "proxy"] == 1
            assert before["kpf_forwards", "idle"] > 2, "services that nobody has used"
            assert not any(label.startswith("dev/") for sample in before for label in sample)

            cluster.delete_pod("db-0")
            await instance.until("waiting", "db")
            await echo(port, b"held")
            moved = await instance.until("moved", "db")
            cause = {"was deleted": "deleted", "is terminating": "terminating"}[
                moved["message"].partition(" → ")[0].removeprefix("db-0 ")
            ]
            after = await scrape(first)
            assert after["kpf_forward_retargets_total", cause] == 1
            assert after["kpf_forward_connections_total",] == 2
            assert after["kpf_forward_held_seconds_count",] == 2
            assert after["kpf_forward_held_seconds_bucket", "0.01"] < 2
            assert after["kpf_forward_held_seconds_sum",] > 0.01
            assert after["kpf_forward_unserved_connections_total", "hold-over"] == 0
            lost = {
                sample[1]: value
                for sample, value in after.items()
                if sample[0] == "kpf_forward_restarts_total" and len(sample) == 2
            }
            assert sum(lost.values()) == (await peer.list())["db"]["restarts"] == 1, lost

            file = tmp_path / "config.yaml"
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                file.write_text(CONFIG.format(metrics=f"127.0.0.1:{second}", hold="30s"))
                await instance.until("notice", message=f"metrics: http://127.0.0.1:{second}/metrics")
                assert (await peer.call("info"))["metrics"] == {"address": "127.0.0.1", "port": second}
                await stream.send_all(b"kept")
                assert await stream.receive_some(100) == b"kept"
                with pytest.raises(OSError, match="connect"):
                    await ask(first)
            file.write_text(CONFIG.format(metrics=second, hold="1m"))
            await instance.until("active", "db")
            await echo(port := int((await peer.list())["db"]["localPort"]), b"again")
            last = await scrape(second)
            assert last["kpf_forward_connections_total",] == 4, "its settings have changed, and it is the same forward"
            assert last["kpf_forward_retargets_total", cause] == 1
            assert all(
                value <= last[sample] for sample, value in after.items() if sample[0].endswith(("_total", "_count"))
            )
            file.write_text("\n".join(CONFIG.format(metrics=second, hold="1m").splitlines()[2:]))
            await instance.until("notice", message="metrics: they are no longer served")
            assert (await peer.call("info"))["metrics"] is None
            await echo(port, b"still there")
