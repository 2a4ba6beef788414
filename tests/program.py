"""Runs the real kpf-supervise in its own process and reads its events."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import trio

from kpf_supervise.kubectl.process import lines
from tests import preforked
from tests.kubectls import Kubectl

PATIENCE = 20.0  # seconds for an event on a busy machine; only a failure waits this long


class Refused(Exception):
    """The instance answered with an error: its `code` and message."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.code = error["code"]


class Peer:
    """One connection to a control socket."""

    def __init__(self, stream: trio.SocketStream, messages: AsyncGenerator[bytes, None]) -> None:
        self.stream = stream
        self._lines = messages
        self._events: deque[dict[str, Any]] = deque()

    async def send(self, text: str) -> None:
        await self.stream.send_all(text.encode() + b"\n")

    async def next(self) -> Any:
        """The next message, or None at the end."""
        with trio.fail_after(PATIENCE):
            line = await anext(self._lines, None)
        return None if line is None else json.loads(line)

    async def call(self, method: str, **params: Any) -> Any:
        """Call a method and return its result. Raises Refused."""
        await self.send(json.dumps({"jsonrpc": "2.0", "id": method, "method": method, "params": params}))
        while "id" not in (answer := await self.next()):
            self._events.append(answer["params"])
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", method)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]

    async def list(self) -> dict[str, dict[str, Any]]:
        return {each["id"]: each for each in await self.call("portforward:list")}

    async def event(self, kind: str, forward: str | None = None) -> dict[str, Any]:
        """The next event of this kind. Needs a prior call of subscribe."""
        while True:
            event: dict[str, Any] = self._events.popleft() if self._events else (await self.next())["params"]
            if event["event"] == kind and forward in (None, event.get("forward")):
                return event


@dataclass
class Instance:
    """A running kpf-supervise. `events` are its JSON events so far, `output` is the rest of its stderr."""

    process: trio.Process | preforked.Process
    environment: dict[str, str]
    events: list[dict[str, Any]] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    news: trio.Event = field(default_factory=trio.Event)
    read: int = 0  # number of events that `until` has consumed

    async def listen(self) -> None:
        assert self.process.stderr is not None
        async for line in lines(self.process.stderr):
            try:
                self.events.append(json.loads(line))
            except ValueError:
                self.output.append(line.decode())
            self.tell()
        self.tell()

    def tell(self) -> None:
        self.news.set()
        self.news = trio.Event()

    async def until(self, event: str, forward: str | None = None, **facts: Any) -> dict[str, Any]:
        """Wait for the next event of this kind (after the last one returned) with these fields."""
        wanted = {"event": event, **facts} | ({"forward": forward} if forward else {})
        with trio.move_on_after(PATIENCE):
            while True:
                while self.read < len(self.events):
                    found = self.events[self.read]
                    self.read += 1
                    if wanted.items() <= found.items():
                        return found
                await self.news.wait()
        told = "\n".join(map(str, self.events)) + "\n".join(self.output)
        raise AssertionError(f"waited for {wanted} in vain; told was:\n{told}")

    async def all_active(self, *forwards: str) -> None:
        """Wait until each of these forwards has been active at least once."""
        await self.told(lambda: set(forwards) <= {e.get("forward") for e in self.events if e["event"] == "active"})

    async def told(self, true: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE):
            while not true():
                await self.news.wait()

    async def all_last(self, event: str, *forwards: str) -> None:
        """Wait until `event` is the last event of each of these forwards."""
        await self.told(lambda: all(self.kinds(forward)[-1:] == [event] for forward in forwards))

    def kinds(self, forward: str) -> list[str]:
        return [e["event"] for e in self.events if e.get("forward") == forward]

    def port(self, forward: str) -> int:
        """The local port, from the first `active` or `idle` event."""
        found = next(e for e in self.events if e.get("forward") == forward and e["event"] in ("active", "idle"))
        return int(found["message"].split()[0].rpartition(":")[2])

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def kubectls(self, word: str = "port-forward") -> list[psutil.Process]:
        found = []
        for process in self.children():
            with suppress(psutil.Error):  # it has exited
                if word in process.cmdline():
                    found.append(process)
        return found

    @property
    def socket(self) -> Path:
        """The control socket of the only instance in its runtime folder."""
        (found,) = Path(self.environment["XDG_RUNTIME_DIR"], "kpf-supervise").glob("*.sock")
        return found

    @asynccontextmanager
    async def peer(self) -> AsyncIterator[Peer]:
        """Connect to the control socket as soon as it exists."""
        await until(lambda: bool(list(Path(self.environment["XDG_RUNTIME_DIR"]).glob("*/*.sock"))))
        with trio.fail_after(PATIENCE):
            stream = await trio.open_unix_socket(str(self.socket))
        async with stream, aclosing(lines(stream, sys.maxsize)) as messages:
            yield Peer(stream, messages)

    async def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run kpfctl until it exits."""
        return await self.ctl_in("utf-8", *words)

    async def ctl_in(self, encoding: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run kpfctl with its output in this encoding."""
        with trio.fail_after(PATIENCE):
            done = await preforked.run("-m", "kpf_supervise.kpfctl", *words, env=self.environment)
        printed, errors = (data.decode(encoding) for data in (done.stdout, done.stderr))
        return subprocess.CompletedProcess(words, done.returncode, printed, errors)

    async def stop(self, how: int = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(how)
        with trio.fail_after(PATIENCE):
            return await self.process.wait()


async def until(true: Callable[[], object]) -> None:
    """Wait for something that sends no event: a file, a process, a question that another program asks."""
    with trio.fail_after(PATIENCE):
        while not true():  # noqa: ASYNC110
            await trio.sleep(0.02)


def surroundings(folder: Path, kubeconfig: Path | None, **variables: str) -> dict[str, str]:
    """The environment for a program with `folder` as HOME, without the settings of whoever runs the tests."""
    own = {"HOME": str(folder), **({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {}), **variables}
    theirs = {"KUBECONFIG", "KUBECTL", "XDG_STATE_HOME", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    return {name: value for name, value in os.environ.items() if name not in theirs} | own


@asynccontextmanager
async def supervising(
    folder: Path,
    kubectl: Kubectl | None,
    kubeconfig: Path | None,
    config: str | None,
    *words: str,
    program: Sequence[str] = ("-m", "kpf_supervise"),
    **variables: str,
) -> AsyncIterator[Instance]:
    """Run kpf-supervise with this configuration during the block, with `folder` as HOME; without one (None), in
    `folder`. `program` are Python's arguments."""
    file = folder / "config.yaml"
    if config is not None:
        file.write_text(textwrap.dedent(config))
    environment = surroundings(folder, kubeconfig, **variables)
    options = ["--log-format=json", *(["--kubectl", kubectl.path] if kubectl else [])]
    async with AsyncExitStack() as stack:
        # not in `folder`, because a socket's path must be short
        environment["XDG_RUNTIME_DIR"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="kpf"))
        nursery = await stack.enter_async_context(trio.open_nursery())
        if config is not None:
            arguments = [*program, str(file), *options, *words]
            process = await preforked.start(arguments, environment, stderr=subprocess.PIPE)
        else:
            process = await trio.lowlevel.open_process(
                [sys.executable, *program, *options, *words],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        instance = Instance(process, environment)
        nursery.start_soon(instance.listen)
        try:
            yield instance
        finally:
            with trio.CancelScope(shield=True):
                if process.poll() is None:
                    process.terminate()
                    with trio.move_on_after(5):
                        await process.wait()
                    if process.poll() is None:
                        process.kill()
                        await process.wait()
            nursery.cancel_scope.cancel()


def free_port(below: int = 32_000) -> int:
    """Not of the range from which the kernel gives one to whoever asks for any: another test might."""
    while True:
        port = random.randrange(20_000, below)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


async def get(port: int, path: str = "/", host: str = "127.0.0.1") -> bytes:
    """The body of one HTTP answer over a new connection; empty if the connection ended without one."""
    async with await trio.open_tcp_stream(host, port) as stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n\r\n".encode())
        try:
            answer = b"".join([chunk async for chunk in stream])
        except trio.BrokenResourceError:
            return b""
    return answer.partition(b"\r\n\r\n")[2]
