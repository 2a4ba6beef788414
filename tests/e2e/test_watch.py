"""A large and busy namespace: what the watch knows is what the cluster has, whatever happens to its stream."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio

from kpf_supervise import model
from kpf_supervise.api.server import ApiServer
from kpf_supervise.kubectl.orphan_guard import open_orphan_guard
from kpf_supervise.primitives.signal import Signal
from kpf_supervise.runtime.socket_folder import socket_folder
from kpf_supervise.sandbox import Cluster, content, open_cluster
from kpf_supervise.sandbox.store import Object
from kpf_supervise.sandbox.watch import End
from kpf_supervise.watching.outage import Outage
from kpf_supervise.watching.pods import PODS, Pod, read_pod
from kpf_supervise.watching.questions import Questions
from kpf_supervise.watching.watch import Watch
from tests.conftest import NEWEST

CROWD = 2000
BURST = 100  # events
PATIENCE = 10.0  # seconds; only a failure waits so long
FAULTS: dict[End, int] = {"clean": 0, "abrupt": 1, "expired": 1}  # and how often all must be listed anew


def read(pod: Object) -> Pod:
    return read_pod(json.dumps(pod).encode())


def restart(pod: Object) -> None:
    pod["status"]["containerStatuses"][0]["restartCount"] += 1


def burst(cluster: Cluster, names: list[str]) -> None:
    """Restarts, many of them of the same few pods; near the end one pod goes and comes back under its name."""
    for number in range(BURST - 3):
        cluster.store.update("pods", "dev", names[number * 7 % 47], restart)
    gone = cluster.store.remove("pods", "dev", names[100])
    cluster.store.add("pods", {**gone, "metadata": {**gone["metadata"], "uid": gone["metadata"]["uid"] + "-next"}})
    cluster.store.update("pods", "dev", names[0], restart)


async def test_no_event_is_lost_or_told_twice_when_a_stream_ends_is_cut_or_has_expired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "kpf_supervise.watching.watch._BRIEF", 0.05
    )  # seconds: the pauses between streams that end at once
    notices: list[str] = []
    told: list[Pod | None] = []  # None: all were listed anew
    news = Signal()

    def hear(pod: Pod | None) -> None:
        told.append(pod)
        news.tell()

    async with open_cluster(tmp_path) as cluster, open_orphan_guard() as keeper, trio.open_nursery() as nursery:
        store = cluster.store
        names = content.crowd(store, CROWD)
        where = model.Cluster(cluster.kubeconfig)
        outage = Outage("sandbox", trio.lowlevel.checkpoint, notices.append)
        api = ApiServer(NEWEST.path, where, keeper, socket_folder, notices.append)
        nursery.start_soon(api.run)
        watch = Watch(PODS, Questions(api, where, "dev"), notices.append, outage)
        watch.listeners.add(hear)
        nursery.start_soon(watch.run)

        async def until_version(version: int) -> None:
            with trio.fail_after(PATIENCE):
                await news.until(lambda: int(watch.items.version or 0) >= version)

        await until_version(store.version)
        for fault, listings in FAULTS.items():
            told.clear()
            begun = store.version
            burst(cluster, names)
            await until_version(begun + BURST // 2)  # it is in mid-stream
            burst(cluster, names)
            changes = [read(change.object) for change in store.since(begun)]
            cluster.end_watches(fault)
            again = store.version
            burst(cluster, names)
            changes += [read(change.object) for change in store.since(again)]
            await until_version(store.version)

            assert {pod.name: pod for pod in watch.items} == {
                pod["metadata"]["name"]: read(pod) for pod in cluster.pods()
            }
            assert told.count(None) == listings
            before = told.index(None) if listings else len(told)
            after = len(told) - before - listings
            assert told[:before] == changes[:before]
            assert told[before + listings :] == changes[len(changes) - after :]
            listed = len(changes) - before - after  # those that came by the listing
            assert (listed == 0) if listings == 0 else (0 <= listed <= 2 * BURST)
        assert notices == []
        nursery.cancel_scope.cancel()
