"""What goes wrong, with real kubectl: the state, the notice and the cause that a user sees, and that it recovers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest
import trio
import trio.testing

from kpf_supervise.sandbox import open_cluster
from kpf_supervise.sandbox.store import Object
from tests.conftest import both
from tests.kubectls import KUBECTLS, Kubectl
from tests.program import get, supervising

NEWEST = KUBECTLS[-1]
FAILS_AT_ONCE = {
    "pod/nosuch": ("80", "no-such-object", 'there is no pod "nosuch" in namespace dev'),
    "service/nosuch": ("80", "no-such-object", 'there is no service "nosuch" in namespace dev'),
    "deployment/nosuch": ("80", "no-such-object", 'there is no deployment "nosuch" in namespace dev'),
    "service/noselector": ("80", "no-selector", "service/noselector has no selector"),
    "service/extname": ("80", "no-selector", "service/extname is of type ExternalName"),
    "service/web": ("nosuch", "no-such-port", "service/web has no port nosuch. It has: 80 (http), 9090 (echo)"),
    "svc/web": ("81", "no-such-port", "service/web has no port 81. It has: 80 (http), 9090 (echo)"),
    "deployment/web": ("nosuch", "no-such-port", "has no port named nosuch. It has: http (8080), echo (9090)"),
}


async def test_definite_answers_fail_at_once_and_say_why(kubectl: Kubectl, tmp_path: Path) -> None:
    """One file with all of them, and a good one that none of them hurts."""
    wrong = "".join(
        f'  f{number}: {{target: {target}, ports: ":{port}"}}\n'
        for number, (target, (port, *_)) in enumerate(FAILS_AT_ONCE.items())
    )
    config = f'forwards:\n{wrong}  good: {{target: service/web, ports: ":80"}}\n'
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
            await instance.all_active("good")
            names = [f"f{number}" for number in range(len(FAILS_AT_ONCE))]
            await instance.told(lambda: all("failed" in instance.kinds(name) for name in names))
            for name, (target, (_, cause, message)) in zip(names, FAILS_AT_ONCE.items(), strict=True):
                failed = next(e for e in instance.events if e.get("forward") == name and e["event"] == "failed")
                assert failed["cause"] == cause, target
                assert message in failed["message"], target
                assert "reconnecting" not in instance.kinds(name), target
            async with instance.peer() as peer:
                said = [each["message"] for name in names for each in await peer.call("logs", id=name)]
            assert [line for line in said if line.startswith(('"', "}"))] == [], "pieces of the API server's answers"
            assert (await get(instance.port("good"))).startswith(b"web-")


NOT_READY = {
    "target: pod/pending": "pod pending is ImagePullBackOff",
    "target: service/noendpoints": "it has no pods",
    "selector: app=nothing": "it has no pods",
}


@both
async def test_without_a_ready_pod_it_waits_and_says_for_what(kubectl: Kubectl, tmp_path: Path) -> None:
    names = {f"f{number}": what for number, what in enumerate(NOT_READY)}
    config = "forwards:\n" + "".join(f'  {name}: {{{what}, ports: ":80"}}\n' for name, what in names.items())
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
            await instance.told(lambda: all("waiting" in instance.kinds(name) for name in names))
            for name, what in names.items():
                waiting = [e for e in instance.events if e.get("forward") == name and e["event"] == "waiting"][-1]
                assert (waiting["cause"], NOT_READY[what] in waiting["message"]) == ("no-ready-pod", True), waiting
            _, alive = await trio.to_thread.run_sync(psutil.wait_procs, instance.kubectls(), 5)
            assert alive == []  # what was started before the pods were known is ended


async def test_each_new_reason_of_the_pod_is_told(tmp_path: Path) -> None:
    """The pod's own word: for its container, else for its place in the cluster, else for its end."""
    crash = {"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}], "phase": "Running"}
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes fit"}
    stories = {
        "CrashLoopBackOff": crash,
        "Unschedulable: 0/3 nodes fit": {"phase": "Pending", "conditions": [unscheduled]},
        "Failed (Evicted)": {"phase": "Failed", "reason": "Evicted"},
    }
    async with open_cluster(tmp_path) as cluster:
        config = 'forwards: {it: {target: pod/pending, ports: ":80"}}'
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance:
            waiting = await instance.until("waiting", "it", cause="no-ready-pod")
            assert "pod pending is ImagePullBackOff" in waiting["message"]
            for reason, status in stories.items():

                def change(pod: Object, status: Any = status) -> None:
                    pod["status"] = status

                cluster.store.update("pods", "dev", "pending", change)
                waiting = await instance.until("waiting", "it", cause="no-ready-pod")
                assert f"pod pending is {reason}. Connections to" in waiting["message"]
            async with instance.peer() as peer:
                step = (await peer.list())["it"]["nextStep"]
                assert step == "See: kubectl --context=sandbox --namespace=dev describe pods"


@both
async def test_scaled_to_nothing_and_back(kubectl: Kubectl, tmp_path: Path) -> None:
    """A held connection is answered by the first pod that gets ready."""
    async with open_cluster(tmp_path) as cluster:
        config = 'forwards: {it: {target: deployment/web, ports: ":http"}}'
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
            await instance.until("active", "it")
            cluster.scale("deployment/web", 0)
            waiting = await instance.until("waiting", "it")
            assert "lost web-" in waiting["message"]
            async with trio.open_nursery() as nursery:
                answers: list[bytes] = []

                async def ask() -> None:
                    answers.append(await get(instance.port("it")))

                nursery.start_soon(ask)
                await instance.told(lambda: "waiting" in instance.kinds("it"))
                cluster.scale("deployment/web", 1)
            moved = await instance.until("moved", "it")
            assert answers == [f"{moved['pod']}\n".encode()]
            assert "reconnecting" not in instance.kinds("it")


async def test_nothing_listens_on_the_port(kubectl: Kubectl, tmp_path: Path) -> None:
    """Accepted by kubectl, refused in the pod: never green again until it is proven, and the client gets its end."""
    async with open_cluster(tmp_path) as cluster:
        config = """
            forwards:
              it: {target: service/web, ports: ":9090", reconnect: {initial: 50ms}}
              good: {target: service/web, ports: ":80"}
            """
        cluster.faults.refuse_port(9090)
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
            await instance.all_active("it", "good")
            async with await trio.open_tcp_stream("127.0.0.1", instance.port("it")) as stream:
                await stream.send_all(b"hello")
                failed = await instance.until("failed", "it", cause="remote-refused")
                with trio.fail_after(5):
                    assert await stream.receive_some() == b""
            assert "nothing in the pod listens on that port" in failed["message"]
            assert instance.kinds("it").count("active") == 1
            assert instance.kinds("good") == ["connecting", "active"]
            cluster.faults.clear()
            async with await trio.open_tcp_stream("127.0.0.1", instance.port("it")) as stream:
                await stream.send_all(b"hello")
                with trio.fail_after(20):
                    assert await stream.receive_some() == b"hello"
            await instance.until("active", "it")


@both
async def test_an_api_server_that_is_down_at_the_start(kubectl: Kubectl, tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        await cluster.stop_api()
        config = "forwards: {it: {target: service/web, ports: ':http', reconnect: {initial: 50ms}}}"
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance:
            await instance.until("reconnecting", "it", cause="api-unreachable")
            await cluster.start_api()
            await instance.until("active", "it")
            assert instance.kinds("it") == ["connecting", "reconnecting", "connecting", "active"]


async def test_an_outage_is_one_notice_and_one_loop_however_many_wait(tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(12)]
    spaces = ("dev", "data", "default")
    rows = "".join(
        f"  {name}: {{target: service/web, namespace: {spaces[number % 3]}, ports: ':http'}}\n"
        for number, name in enumerate(names)
    )
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, f"forwards:\n{rows}") as instance:
            dev = names[::3]
            await instance.all_active(*dev)
            await cluster.stop_api()

            def waiting(name: str) -> bool:
                last = [e for e in instance.events if e.get("forward") == name][-1]
                return str(last["message"]).startswith("as soon as the API server answers")

            await instance.told(lambda: all(map(waiting, dev)))
            asked: set[int] = set()
            with trio.move_on_after(2):
                while True:  # what kubectls are there while nobody answers
                    asked |= {child.pid for child in instance.kubectls("proxy") + instance.kubectls()}
                    await trio.sleep(0.02)
            assert len(asked) <= 5, "one loop for all, with growing pauses"
            await cluster.start_api()
            await instance.told(lambda: all(instance.kinds(name)[-1] == "active" for name in dev))
            notices = [e["message"] for e in instance.events if e["event"] == "notice"]
            assert len(notices) == 2, notices
            assert notices[0].startswith("sandbox: the API server does not answer")
            assert notices[1] == "sandbox: the API server answers again"


async def test_a_client_that_reads_nothing_goes_on_where_it_was(tmp_path: Path) -> None:
    """It stalls all connections of its kubectl: new ones get a fresh one."""
    async with open_cluster(tmp_path) as cluster:
        config = "forwards: {it: {target: service/web, ports: ':http'}}"
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance:
            await instance.until("active", "it")
            port = instance.port("it")
            async with await trio.open_tcp_stream("127.0.0.1", port) as stalled:
                await stalled.send_all(b"GET /bytes/500000000 HTTP/1.1\r\nHost: a\r\n\r\n")
                await stalled.receive_some()
                await trio.testing.wait_all_tasks_blocked(1)
                with trio.fail_after(20):
                    assert (await get(port)).startswith(b"web-")
                moved = await instance.until("moved", "it")
                assert moved["message"].startswith("a client reads nothing, which stalls all connections")
                assert len(instance.kubectls()) == 2
                got = 0
                while got < 20_000_000:  # the stalled one goes on where it was
                    got += len(await stalled.receive_some())
            assert "reconnecting" not in instance.kinds("it")


@pytest.mark.long
async def test_an_upgrade_that_is_never_answered_is_given_up(tmp_path: Path) -> None:
    """kubectl itself would wait without limit, in every version."""
    async with open_cluster(tmp_path) as cluster:
        cluster.faults.hang_upgrade()
        config = 'forwards: {it: {target: service/web, ports: ":http"}}'
        async with supervising(tmp_path, KUBECTLS[-1], cluster.kubeconfig, config) as instance:
            slow = await instance.until("reconnecting", "it", cause="start-timeout")
            assert "did not get through" in slow["message"]
            cluster.faults.clear()
            await instance.until("active", "it")
