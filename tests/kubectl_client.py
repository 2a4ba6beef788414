"""Runs real kubectl against the sandbox cluster and sends requests through its port-forwards."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from kpf_supervise.sandbox import Cluster
from tests.kubectls import Kubectl

PATIENCE = 20.0  # seconds for anything on a busy machine; only a failure waits this long
GRACE = 0.5  # seconds to read the rest: a credential plugin may outlive its kubectl, and hold its output open
FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)")


@dataclass(frozen=True)
class Client:
    """One kubectl and the cluster it talks to. `tunnel` is spdy or websocket, `variables` are further ones of its
    environment."""

    kubectl: Kubectl
    cluster: Cluster
    tunnel: str = "spdy"
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """HOME is beside the kubeconfig, so that this cluster has its own discovery cache."""
        own = {"KUBECONFIG": str(self.cluster.kubeconfig), "HOME": str(self.cluster.kubeconfig.parent)}
        # Exists since 1.29; the default is false up to 1.30 and true after that.
        own["KUBECTL_PORT_FORWARD_WEBSOCKETS"] = "true" if self.tunnel == "websocket" else "false"
        return {**os.environ, **own, **self.variables}

    async def run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run it until it exits, with any exit code."""
        with trio.fail_after(PATIENCE):
            return await trio.run_process(
                [self.kubectl.path, *words],
                env=self.environment,
                check=False,
                capture_stdout=True,
                capture_stderr=True,
            )

    async def output(self, *words: str) -> str:
        """Its output, if it succeeds."""
        done = await self.run(*words)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()


@dataclass
class Running:
    """A kubectl that keeps running, and its output so far."""

    process: trio.Process
    printed: str = ""
    _news: trio.Event = field(default_factory=trio.Event)

    async def read(self, stream: trio.abc.ReceiveStream) -> None:
        async for chunk in stream:
            self.printed += chunk.decode()
            self._news.set()
            self._news = trio.Event()

    async def says(self, pattern: str) -> re.Match[str]:
        """Wait until its output matches `pattern`."""
        with trio.move_on_after(PATIENCE):
            while not (match := re.search(pattern, self.printed)):
                await self._news.wait()
            return match
        raise AssertionError(f"never said {pattern!r}, but:\n{self.printed}")

    async def exit_code(self) -> int:
        with trio.fail_after(PATIENCE):
            return await self.process.wait()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None


@asynccontextmanager
async def running(client: Client, *words: str) -> AsyncIterator[Running]:
    """Run kubectl during the block, then send SIGTERM (SIGINT does nothing while an upgrade is unanswered)."""
    process = await trio.lowlevel.open_process(
        [client.kubectl.path, *words], env=client.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    kubectl = Running(process)
    assert process.stdout is not None
    assert process.stderr is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kubectl.read, process.stdout)
        nursery.start_soon(kubectl.read, process.stderr)
        try:
            yield kubectl
        finally:
            with trio.CancelScope(shield=True):
                if kubectl.alive:
                    process.terminate()
                with trio.move_on_after(PATIENCE):
                    await process.wait()
                process.kill()
                await process.wait()
                nursery.cancel_scope.deadline = trio.current_time() + GRACE


@dataclass(frozen=True)
class Proxy:
    """A running `kubectl proxy`, which keeps one connection to the API server."""

    kubectl: Running
    socket: str

    async def ask(self, path: str) -> tuple[int, bytes]:
        """The status of the answer to one GET, and what follows its head."""
        async with await trio.open_unix_socket(self.socket) as stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            with trio.fail_after(PATIENCE):
                answer = b"".join([bytes(chunk) async for chunk in stream])
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body


@asynccontextmanager
async def proxying(client: Client, *words: str) -> AsyncIterator[Proxy]:
    """Run `kubectl proxy` during the block, once it serves."""
    with tempfile.TemporaryDirectory(prefix="kpf") as folder:  # a socket's path must be short
        async with running(client, "proxy", f"--unix-socket={folder}/proxy", *words) as kubectl:
            await kubectl.says("Starting to serve on")
            yield Proxy(kubectl, f"{folder}/proxy")


@dataclass
class Forward:
    """A running `kubectl port-forward`."""

    kubectl: Running
    ports: dict[int, int]  # the pod's port → the local one

    async def connect(self, port: int = 8080) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.ports[port])

    async def ask(self, request: bytes, port: int = 8080) -> bytes:
        """Send `request`, then read to the end. Returns b"" if the connection was reset."""
        async with await self.connect(port) as stream:
            with trio.fail_after(PATIENCE):
                try:
                    await stream.send_all(request)
                    return b"".join([bytes(chunk) async for chunk in stream])
                except trio.BrokenResourceError:
                    return b""

    async def get(self, path: str = "/", port: int = 8080) -> bytes:
        """The body of the answer, or b"" if there was none."""
        answer = await self.ask(f"GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n".encode(), port)
        return answer.partition(b"\r\n\r\n")[2]


@asynccontextmanager
async def forwarding(client: Client, target: str, *ports: str) -> AsyncIterator[Forward]:
    """Run `kubectl port-forward`. Yields once it has printed its "Forwarding from" lines."""
    asked = ports or (":8080",)
    async with running(client, "port-forward", "--address", "127.0.0.1", target, *asked) as kubectl:
        await kubectl.says(f"(?:{FORWARDING.pattern}\n){{{len(asked)}}}")
        local = {int(match[2]): int(match[1]) for match in FORWARDING.finditer(kubectl.printed)}
        yield Forward(kubectl, local)
