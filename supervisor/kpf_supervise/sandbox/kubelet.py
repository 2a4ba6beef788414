"""The node: starts pods, restarts crashed processes, ends deleted pods, and takes connections from tunnels."""

from __future__ import annotations

import secrets
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial

import trio

from kpf_supervise.sandbox import pod_status, workloads
from kpf_supervise.sandbox.objects import NODE, UNPULLABLE
from kpf_supervise.sandbox.pipe import PipeEnd
from kpf_supervise.sandbox.store import NotFound, Object, Store
from kpf_supervise.sandbox.timing import Timing

REFUSED = (
    'failed to execute portforward in network namespace "{netns}": failed to connect to localhost:{port} inside '
    'namespace "{id}", IPv4: dial tcp4 127.0.0.1:{port}: connect: connection refused '
    "IPv6 dial tcp6: address localhost: no suitable address found "
)


class DialError(Exception):
    """The connection could not be made. The text is the container runtime's (containerd 2.1)."""


class Sandbox:
    """The container runtime's record of a pod. A tunnel is pinned to it, even after the pod is gone."""

    def __init__(self, pod: Object, count: Callable[[], None]) -> None:
        self.pod: str = pod["metadata"]["name"]
        self.id = secrets.token_hex(32)
        self.netns = f"/var/run/netns/cni-{uuid.uuid4()}"
        self.network = True  # until it is torn down
        self.known = True  # until it is garbage-collected
        self.process: workloads.Process | None = None
        self._count = count

    def dial(self, port: int, refuse: bool = False) -> PipeEnd:
        """Connect to localhost:`port` inside the pod; `refuse` acts as if nothing listened. Raises DialError."""
        if not self.known:
            raise DialError(f'failed to find sandbox "{self.id}" in store: not found')
        if not self.network:
            raise DialError(f'network namespace for sandbox "{self.id}" is closed')
        connection = self.process.dial(port) if self.process and not refuse else None
        if connection is None:
            raise DialError(REFUSED.format(netns=self.netns, id=self.id, port=port))
        self._count()
        return connection


class PodWorker:
    """Runs one pod from its creation to its end, like kubelet's pod workers."""

    def __init__(self, pod: Object, kubelet: Kubelet) -> None:
        self.namespace: str = pod["metadata"]["namespace"]
        self.name: str = pod["metadata"]["name"]
        self.sandbox = Sandbox(pod, partial(kubelet.count, pod))
        self.pause: float | None = None  # seconds from a crash to the next process, if a test sets it
        self._pod = pod
        self._uid = pod["metadata"]["uid"]
        self._kubelet = kubelet
        self._ip = kubelet.next_ip()
        self._alive = trio.CancelScope()
        self._gone = False

    def _report(self, change: Callable[[Object], None]) -> None:
        """Write the status, unless the pod is gone or another one has its name."""
        store = self._kubelet.store
        found = store.find("pods", self.namespace, self.name)
        if found is not None and found["metadata"]["uid"] == self._uid:
            store.update("pods", self.namespace, self.name, change)

    def end(self, gone: bool) -> None:
        """Terminate the pod; with `gone`, it was deleted by force."""
        self._gone = self._gone or gone
        self._alive.cancel()

    async def run(self) -> None:
        """Run the pod. Return when it is deleted and nothing is left of it."""
        with self._alive:
            await self._live()
        if not self._gone:
            await self._terminate()
        elif self.sandbox.process:
            self.sandbox.process.end(137)
            await trio.sleep(self._kubelet.timing.teardown)
        self.sandbox.network = False
        await trio.sleep(self._kubelet.timing.collect)
        self.sandbox.known = False

    async def _live(self) -> None:
        """Start the pod and keep it running, until cancelled."""
        image: str = self._pod["spec"]["containers"][0]["image"]
        self._report(pod_status.scheduled)
        if image.startswith(UNPULLABLE):
            waiting = ("ImagePullBackOff", f'Back-off pulling image "{image}"')
            self._report(lambda pod: pod_status.creating(pod, *waiting))
            await trio.sleep_forever()
        self._report(pod_status.creating)
        await trio.sleep(self._kubelet.timing.create)
        process = await self._start(pod_status.running)
        await trio.sleep(self._kubelet.timing.ready)
        self._report(pod_status.ready)
        while True:
            await process.ended.wait()
            timing = self._kubelet.timing
            pause = timing.restart if self.pause is None else self.pause
            code = process.exit_code or 0
            await trio.sleep(min(timing.notice, pause))
            self._report(partial(pod_status.crashed, exit_code=code))
            await trio.sleep(max(0, pause - timing.notice))
            process = await self._start(pod_status.restarted)
            self.pause = None

    async def _start(self, report: Callable[[Object, str, str], None]) -> workloads.Process:
        """Start the container's process, then write the status with `report`."""
        container = self._pod["spec"]["containers"][0]
        handlers = {
            (number := port["containerPort"]): workloads.http(self.name, number)
            if port["name"].startswith("http")
            else workloads.echo
            for port in container.get("ports", ())
        }
        self.sandbox.process = process = workloads.Process()
        await self._kubelet.start_process(process, handlers)
        identity = f"containerd://{secrets.token_hex(32)}"
        self._report(lambda pod: report(pod, identity, self._ip))
        return process

    def _patience(self) -> float:
        """Seconds from SIGTERM to the end of the process: its own delay, at most the grace period."""
        found = self._kubelet.store.find("pods", self.namespace, self.name) or self._pod
        grace: float = found["metadata"].get("deletionGracePeriodSeconds", 0)
        env = {entry["name"]: entry["value"] for entry in self._pod["spec"]["containers"][0].get("env", ())}
        return min(float(env.get("TERM_DELAY", self._kubelet.timing.terminate)), grace)

    async def _terminate(self) -> None:
        """Send SIGTERM; the process keeps serving until it ends. Then remove the object in two steps."""
        if process := self.sandbox.process:
            with trio.move_on_after(self._patience()):
                await process.ended.wait()
            process.end(0)
            await trio.sleep(self._kubelet.timing.teardown)  # until then its ports refuse connections
            self.sandbox.network = False
            self._report(partial(pod_status.stopped, exit_code=process.exit_code or 0))
        await trio.sleep(self._kubelet.timing.delete)
        self._report(pod_status.finalized)
        with suppress(NotFound):  # deleted by force in the meantime
            self._kubelet.store.remove("pods", self.namespace, self.name)


def is_ours(pod: Object) -> bool:
    """Whether the pod runs on this node, or will: no other node starts pods."""
    return bool(pod["spec"].get("nodeName", NODE) == NODE)


class Kubelet:
    """All pods of the single node."""

    def __init__(self, store: Store, timing: Timing) -> None:
        self.store = store
        self.timing = timing
        self.connections: Counter[str] = Counter()  # connections to a pod's process, by pod name
        self.dials: deque[tuple[str, str]] = deque(maxlen=10_000)  # the same in order: pod name, uid
        self._workers: dict[str, PodWorker] = {}  # by uid
        self._nursery: trio.Nursery | None = None
        self._ips = 1

    def next_ip(self) -> str:
        self._ips += 1
        return f"10.244.{self._ips // 250}.{self._ips % 250 + 1}"

    def count(self, pod: Object) -> None:
        self.connections[pod["metadata"]["name"]] += 1
        self.dials.append((pod["metadata"]["name"], pod["metadata"]["uid"]))

    async def start_process(self, process: workloads.Process, handlers: Mapping[int, workloads.Handler]) -> None:
        assert self._nursery is not None
        await self._nursery.start(process.run, handlers)

    def worker(self, namespace: str, name: str) -> PodWorker:
        """The worker of an existing pod. Raises NotFound."""
        uid = self.store.get("pods", namespace, name)["metadata"]["uid"]
        if uid not in self._workers:
            raise NotFound("pods", namespace, name)
        return self._workers[uid]

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the pods in the store, until cancelled."""
        version = self.store.version
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            while True:
                await self.store.wait_past(version)
                if self.store.touched(version, lambda change: change.key[0] == "pods" and is_ours(change.object)):
                    self._sync(self._nursery)
                version = self.store.version

    def _sync(self, nursery: trio.Nursery) -> None:
        pods = {pod["metadata"]["uid"]: pod for pod in self.store.select("pods", match=is_ours)}
        for uid, worker in list(self._workers.items()):
            if uid not in pods:
                worker.end(gone=True)
                del self._workers[uid]
            elif pod_status.is_terminating(pods[uid]):
                worker.end(gone=False)
        for uid, pod in pods.items():
            if uid not in self._workers:
                worker = self._workers[uid] = PodWorker(pod, self)
                nursery.start_soon(worker.run)
                if pod_status.is_terminating(pod):
                    worker.end(gone=False)
