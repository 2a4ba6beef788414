"""The kubectl that reads from the API server: how many there are, what happens to it, and that no forward notices."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest
import trio

from kpf_supervise.sandbox import Timing, open_cluster, write_kubeconfig
from kpf_supervise.sandbox.watch import End
from tests.conftest import NEWEST, both
from tests.kubectls import Kubectl
from tests.load import Load
from tests.program import Instance, get, supervising, until


def runtime(instance: Instance) -> Path:
    return Path(instance.environment["XDG_RUNTIME_DIR"], "kpf-supervise")


def sockets(instance: Instance) -> list[Path]:
    return list(runtime(instance).glob("api-*/s"))


async def kill(instance: Instance) -> None:
    for process in instance.kubectls("proxy"):
        process.kill()


async def remove_socket(instance: Instance) -> None:
    sockets(instance)[0].unlink()


async def remove_folder(instance: Instance) -> None:
    """Nothing can be made there any more either: a file has the place of the runtime folder."""
    moved = runtime(instance).rename(runtime(instance).with_name("moved"))
    runtime(instance).write_text("")
    assert list(moved.glob("api-*/s"))


HAPPENS: list[tuple[Callable[[Instance], Awaitable[None]], End | None, str]] = [
    (kill, None, "was killed by signal 9. A fresh one is started"),
    (remove_socket, "clean", "has lost its socket"),
    (remove_folder, "clean", "has lost its socket"),
]


@pytest.mark.long
@both
async def test_whatever_happens_to_it_is_told_and_costs_no_request(kubectl: Kubectl, tmp_path: Path) -> None:
    # the pod works on until the news of its end is there, also on a busy machine
    async with open_cluster(tmp_path, Timing(terminate=5)) as cluster:
        config = "forwards: {web: {target: service/web, ports: ':http'}}"
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
            pod = (await instance.until("active", "web"))["pod"]
            load = Load(instance.port("web"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                for happens, end, told in HAPPENS:
                    await load.more(5)
                    await happens(instance)
                    if end is not None:  # the next question, or stream, needs the socket
                        cluster.end_watches(end)
                    notice = await instance.until("notice")
                    assert notice["message"].startswith("sandbox: the kubectl that reads from the API server ")
                    assert told in notice["message"]
                    await until(lambda: len(instance.kubectls("proxy")) == 1)
                    cluster.delete_pod(pod)
                    moved = await instance.until("moved", "web")
                    assert moved["message"].startswith(f"{pod} is terminating → ")
                    pod = moved["pod"]
                await load.more(20)
                nursery.cancel_scope.cancel()
            assert load.failures == []
            assert [e["event"] for e in instance.events].count("notice") == len(HAPPENS)
            assert {"reconnecting", "waiting", "failed"}.isdisjoint(instance.kinds("web"))


async def test_one_reads_for_twenty_idle_forwards_in_twenty_namespaces(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        service = cluster.store.get("services", "dev", "web")
        names = [f"space-{number}" for number in range(20)]
        for name in names:
            cluster.store.add("namespaces", {"metadata": {"name": name}})
            cluster.store.add("services", {**service, "metadata": {"name": "web", "namespace": name}})
        lines = "".join(
            f"  {name}: {{target: service/web, namespace: {name}, lazy: true, ports: ':http'}}\n" for name in names
        )
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, f"forwards:\n{lines}") as instance:
            await instance.all_last("idle", *names)

            def watching() -> set[str]:
                return {each.path.split("/")[4] for each in cluster.requests if each.query.get("watch")}

            await until(lambda: watching() == {*names})
            assert len(instance.kubectls("proxy")) == 1
            assert len(instance.children()) == 2, "and the keeper"


async def test_contexts_of_the_same_user_and_cluster_share_one(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        file = write_kubeconfig(
            tmp_path / "secure", one=cluster.context({"token": "a"}), other=cluster.context({"token": "b"})
        )
        shared = file.read_text().replace(
            '"contexts": [',
            '"contexts": [{"name": "two", "context": {"cluster": "one", "user": "one", "namespace": "dev"}}, ',
        )
        file.write_text(shared)
        config = """
            forwards:
              one: {target: service/web, context: one, ports: ":http"}
              two: {target: service/web, context: two, ports: ":http"}
              other: {target: service/web, context: other, ports: ":http"}
            """
        async with supervising(tmp_path, NEWEST, file, config) as instance:
            await instance.all_active("one", "two", "other")
            assert len(instance.kubectls("proxy")) == 2


@both
async def test_a_login_that_changes_the_kubeconfig_is_used_without_a_restart(kubectl: Kubectl, tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.add("of-today")
        file = write_kubeconfig(tmp_path / "secure", dev=cluster.context({"token": "of-today"}))
        config = "forwards: {web: {target: service/web, ports: ':http'}}"
        async with supervising(tmp_path, kubectl, file, config) as instance:
            active = await instance.until("active", "web")
            cluster.tokens.revoke()
            cluster.tokens.add("of-tomorrow")
            cluster.end_watches("clean")
            notice = await instance.until("notice")
            assert "does not accept your credentials" in notice["message"]
            write_kubeconfig(file, dev=cluster.context({"token": "of-tomorrow"}))
            await instance.until("notice", message="dev: the API server answers again")
            cluster.delete_pod(active["pod"])
            await instance.until("moved", "web")
            assert await get(instance.port("web"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
async def test_nothing_of_it_is_left(how: int, tmp_path: Path) -> None:
    """After kill -9 only an unlocked folder, which the next instance removes."""
    async with open_cluster(tmp_path) as cluster:
        config = "forwards: {web: {target: service/web, ports: ':http'}}"
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance:
            await instance.until("active", "web")
            processes = instance.kubectls("proxy")
            (socket,) = sockets(instance)
            assert (socket.parent.stat().st_mode & 0o777) == 0o700
            await instance.stop(how)
            _, alive = await trio.to_thread.run_sync(psutil.wait_procs, processes, 5)
            assert alive == []
            assert socket.parent.exists() is (how == signal.SIGKILL)
