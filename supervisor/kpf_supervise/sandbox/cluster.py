"""The sandbox cluster as a whole, and what a test can do to it."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import trio

from kpf_supervise.sandbox import certificate, content, controllers, pod_status
from kpf_supervise.sandbox.api import Api, Upgrades
from kpf_supervise.sandbox.faults import Faults
from kpf_supervise.sandbox.http import HttpConnection, Request
from kpf_supervise.sandbox.http2 import Http2Connection
from kpf_supervise.sandbox.kubeconfig import Context, write_kubeconfig
from kpf_supervise.sandbox.kubelet import Kubelet, Sandbox
from kpf_supervise.sandbox.line import Gate, Line
from kpf_supervise.sandbox.objects import timestamp
from kpf_supervise.sandbox.server import HOST, Server
from kpf_supervise.sandbox.store import Object, Store
from kpf_supervise.sandbox.timing import Timing
from kpf_supervise.sandbox.tokens import Tokens
from kpf_supervise.sandbox.transport import Gated, Transport
from kpf_supervise.sandbox.tunnel import Tunnel
from kpf_supervise.sandbox.watch import End

RESTARTED = "kubectl.kubernetes.io/restartedAt"
RESOURCES = {"deployment": "deployments", "statefulset": "statefulsets", "replicaset": "replicasets"}


@cache
def own_certificate() -> tuple[certificate.Certificate, ssl.SSLContext]:
    """Made once in a process."""
    made = certificate.make(HOST)
    return made, made.server_context("h2", "http/1.1")


class Cluster:
    """A running cluster, made by `open_cluster`. Synchronous calls take effect at once, their consequences later."""

    def __init__(self, directory: Path, timing: Timing, nursery: trio.Nursery) -> None:
        self.faults = Faults()
        self.tokens = Tokens()
        self.timing = timing
        self.store = Store()
        self._kubelet = Kubelet(self.store, timing)
        self._server = Server(self._connected)
        self._tunnels: dict[trio.CancelScope, tuple[str, Gate]] = {}  # per open tunnel: its pod, the gate for its bytes
        self._nursery = nursery
        self.port = self._server.port
        self.url = f"https://{HOST}:{self.port}"
        self._certificate, self._tls = own_certificate()
        self._conversations: set[HttpConnection | Http2Connection] = set()
        address = f"{HOST}:{self.port}"
        self._api = Api(self.store, self._kubelet, self.faults, self.tokens, address, self._tunnel)
        self.kubeconfig = write_kubeconfig(directory / "kubeconfig", sandbox=self.context({"token": "sandbox"}))

    async def start(self) -> None:
        """Start the default content, as fast as possible, and the API server. Return when all is ready."""
        self._kubelet.timing = Timing(create=0, ready=0)
        await self._nursery.start(self._kubelet.run)
        content.fill(self.store)
        while not controllers.settled(self.store):
            version = self.store.version
            controllers.reconcile(self.store)
            await self.store.wait_past(version)
        self._kubelet.timing = self.timing
        self._nursery.start_soon(controllers.run, self.store, self.timing)
        await self.start_api()

    async def settled(self) -> None:
        """Wait until the controllers are idle: all pods are ready and none is terminating."""
        while not controllers.settled(self.store):
            await self.store.wait_past(self.store.version)

    # --- how it is reached

    @property
    def line(self) -> Line:
        """The network between kubectl and the API server: its distance, and whether it is silent."""
        return self._server.line

    def context(self, user: dict[str, Any], **cluster: Any) -> Context:
        """A context for `write_kubeconfig` with these credentials, such as `CredentialPlugin.user`.

        `cluster` adds or replaces keys of the kubeconfig's cluster; None removes a key.
        """
        return user, {"server": self.url, "certificate-authority-data": self._certificate.authority} | cluster

    # --- current state

    @property
    def requests(self) -> Sequence[Request]:
        """The last 10,000 API requests in order of arrival: (method, path, query, headers, body, protocol)."""
        return self._api.requests

    @property
    def upgrades(self) -> Upgrades:
        """The upgrades of port-forwards that wait for their answer."""
        return self._api.upgrades

    @property
    def connections(self) -> Counter[str]:
        """The number of tunnel connections that reached a pod's process, by pod name."""
        return self._kubelet.connections

    @property
    def dials(self) -> Sequence[tuple[str, str]]:
        """The same connections in order: (pod name, pod uid)."""
        return self._kubelet.dials

    @property
    def tunnels(self) -> list[str]:
        """The pod of each open tunnel."""
        return [pod for pod, _ in self._tunnels.values()]

    def pods(self, namespace: str = content.NAMESPACE, app: str | None = None) -> list[Object]:
        """The current pod objects, including terminating ones; `app` selects by label."""
        pods = self.store.select("pods", namespace)
        return [pod for pod in pods if app in (None, pod["metadata"].get("labels", {}).get("app"))]

    def pod(self, name: str, namespace: str = content.NAMESPACE) -> Object:
        """Raises store.NotFound."""
        return self.store.get("pods", namespace, name)

    # --- actions of users and programs in a cluster

    def delete_pod(self, name: str, namespace: str = content.NAMESPACE, grace: int | None = None) -> None:
        """`kubectl delete pod`: SIGTERM, then SIGKILL after `grace` seconds (None: the pod's own, 30). 0 forces it."""
        controllers.delete_pod(self.store, namespace, name, grace)

    def set_ready(self, name: str, ready: bool, namespace: str = content.NAMESPACE) -> None:
        """Set the result of the readiness probe. The process keeps serving either way."""
        self.store.update("pods", namespace, name, lambda pod: pod_status.ready(pod, ready))

    def restart_container(self, name: str, down: float | None = None, namespace: str = content.NAMESPACE) -> None:
        """Crash the process; it is back after `down` seconds (None: Timing.restart). Until then its ports refuse."""
        worker = self._kubelet.worker(namespace, name)
        worker.pause = down
        if worker.sandbox.process:
            worker.sandbox.process.end(1)

    def rollout_restart(self, workload: str, namespace: str = content.NAMESPACE) -> None:
        """`kubectl rollout restart deployment/web`."""

        def change(object: Object) -> None:
            meta = object["spec"]["template"]["metadata"]
            meta["annotations"] = {**meta.get("annotations", {}), RESTARTED: f"{timestamp()} {self.store.version}"}
            object["metadata"]["generation"] += 1

        self._change(workload, namespace, change)

    def scale(self, workload: str, replicas: int, namespace: str = content.NAMESPACE) -> None:
        """`kubectl scale deployment/web --replicas=3`."""

        def change(object: Object) -> None:
            object["spec"]["replicas"] = replicas
            object["metadata"]["generation"] += 1

        self._change(workload, namespace, change)

    def add_service(
        self,
        name: str,
        *ports: dict[str, Any],
        namespace: str = content.NAMESPACE,
        app: str | None = "web",
        **spec: Any,
    ) -> None:
        """A service before the pods of `app` (None: without a selector); `ports` as in its spec, by default http."""
        content.add_service(self.store, name, *ports, namespace=namespace, app=app, **spec)

    def remove_service(self, name: str, namespace: str = content.NAMESPACE) -> None:
        """`kubectl delete service`."""
        self.store.remove("services", namespace, name)

    def _change(self, workload: str, namespace: str, change: Callable[[Object], None]) -> None:
        kind, _, name = workload.partition("/")
        self.store.update(RESOURCES[kind], namespace, name, change)

    # --- failures between kubectl and the cluster; for wrong answers see `faults`

    async def start_api(self) -> None:
        """Listen (again), always on the same port."""
        await self._nursery.start(self._server.run, self._nursery)

    async def stop_api(self, keep_tunnels: bool = False) -> None:
        """The API server dies: new connections are refused, open ones are cut.

        With `keep_tunnels` it stops gracefully, which takes a real one a minute: watches end cleanly, nothing more is
        answered (GOAWAY), and tunnels keep working. Call it again to end those too.
        """
        await self._server.stop(keep_connections=keep_tunnels)
        if keep_tunnels:
            self._api.end_watches("clean")
            for conversation in self._conversations:
                conversation.drain()

    def pause_api(self) -> None:
        """The API server freezes: it accepts connections, but no byte goes in or out, not even in tunnels."""
        self.line.hold()

    def resume_api(self) -> None:
        self.line.release()

    def lose_connections(self) -> None:
        """Act like a sleep or a network change: open connections go dead without closing, new ones work."""
        self.line.cut()
        self.line.restore()

    def lose_tunnels(self) -> None:
        """Like `lose_connections`, but only for tunnels: watches keep working."""
        for _, gate in self._tunnels.values():
            gate.close()

    def cut_tunnels(self, pod: str | None = None) -> int:
        """Drop the connection under each tunnel (to that pod). Return the number of tunnels cut."""
        cut = [scope for scope, (name, _) in self._tunnels.items() if pod in (None, name)]
        for scope in cut:
            scope.cancel()
        return len(cut)

    def end_watches(self, how: End = "clean") -> None:
        """End all watches: cleanly, by a broken connection, or with 410 (then all older versions get 410)."""
        if how == "expired":
            self.compact()
        self._api.end_watches(how)

    def tell_watches(self, line: str) -> None:
        """Send a line to all watches, as a proxy in front of the API server might."""
        self._api.tell_watches(line)

    def compact(self) -> None:
        """Answer 410 to watches that resume from any version up to now."""
        self.store.compact()

    def close(self) -> None:
        self._server.close()
        self.kubeconfig.unlink(missing_ok=True)

    # --- connections

    async def _connected(self, stream: trio.abc.Stream) -> None:
        secure = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
        with suppress(trio.BrokenResourceError):  # the client does not trust the certificate, say
            await secure.do_handshake()
            speaks = Http2Connection if secure.selected_alpn_protocol() == "h2" else HttpConnection
            conversation = speaks(secure, self._api.handle)
            self._conversations.add(conversation)
            try:
                await conversation.serve()
            finally:
                self._conversations.discard(conversation)

    async def _tunnel(self, sandbox: Sandbox, transport: Transport) -> None:
        with trio.CancelScope() as scope:
            gate = Gate()
            self._tunnels[scope] = (sandbox.pod, gate)
            try:
                await Tunnel(Gated(transport, gate), sandbox, self.faults, self.timing).run()
            finally:
                del self._tunnels[scope]


@asynccontextmanager
async def open_cluster(directory: Path, timing: Timing | None = None) -> AsyncIterator[Cluster]:
    """A cluster on a free port of 127.0.0.1, with its default content ready. It speaks HTTP/2 and HTTP/1.1 over TLS.

    Writes `directory`/kubeconfig (context `sandbox`, namespace `dev`). The end of the block stops the cluster, closes
    open connections and removes the file.
    """
    async with trio.open_nursery() as nursery:
        cluster = Cluster(directory, timing or Timing(), nursery)
        try:
            await cluster.start()
            yield cluster
        finally:
            nursery.cancel_scope.cancel()
            cluster.close()
