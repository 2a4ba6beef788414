"""One API server as one user sees it, read through one long-lived `kubectl proxy`.

kubectl then reads the kubeconfig, logs in and connects once, and not again for each question and each watch.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import NoReturn

import trio

from kpf_supervise.api.connection import Answer, Cut, Gone, get
from kpf_supervise.api.errors import CONNECTION_LOST, proxy_failed, refused
from kpf_supervise.api.process import ApiProcess, SocketFolder
from kpf_supervise.kubectl.contexts import marks_of
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.kubectl.process import TIMEOUT, lines, too_slow
from kpf_supervise.model import Cause, Cluster, ForwardError, Problem
from kpf_supervise.primitives.backoff import delay
from kpf_supervise.primitives.signal import Signal
from kpf_supervise.primitives.single_flight import SingleFlight

_EVENT = 8 * 1024 * 1024  # bytes of a line of a stream; an object in etcd has at most 1.5 MiB
_AT_A_TIME = 64  # questions; macOS refuses a connection if 128 wait to be accepted
_AGAIN = (0.5, 3.0)  # seconds: first and longest pause before a start, if the last processes ended by themselves
_WELL = 10.0  # seconds after which a process has proved itself: what happens to it is no reason for a pause
_OVERDUE = 4.0  # seconds without an answer after which it is found out whether the connection is dead
_CHECK = 4.0  # seconds for an answer to the small question that finds it out
_SETTLE = 0.1  # seconds until it is known whether a process has ended, or what it says about its connection


class Interrupted(ForwardError):
    """An answer broke off. `died`: the connection to the API server has died, so tunnels may have died, too."""

    def __init__(self, died: bool) -> None:
        step = "Check with: kubectl get --raw /version"
        super().__init__(Problem(Cause.API_UNREACHABLE, "the API server's answer broke off", step))
        self.died = died


class ApiServer:
    """Answers questions while `run` runs. The first one starts the process; `cluster` names its context."""

    def __init__(
        self,
        binary: str,
        cluster: Cluster,
        guard: OrphanGuard,
        folder: SocketFolder,
        notice: Callable[[str], None],
    ) -> None:
        self._binary = binary
        self._cluster = cluster
        self._guard = guard
        self._folder = folder
        self._notice = notice
        self._label = f"{cluster.context or 'the cluster'}: the kubectl that reads from the API server"
        self._current: ApiProcess | None = None
        self._old: list[ApiProcess] = []  # they serve the streams that they have until the current one is proven
        self._generation = 0  # a process of an older one is to be replaced
        self._failures = 0  # consecutive processes that ended soon after their start
        self._starts: SingleFlight[None, ApiProcess] = SingleFlight()
        self._turns = trio.CapacityLimiter(_AT_A_TIME)
        self._nursery: trio.Nursery | None = None
        self._runs = Signal()

    async def run(self) -> None:
        """Keep the processes that questions start. Never returns."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._runs.tell()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def begin_anew(self, died: bool = False) -> None:
        """Ask a fresh process from now on. The old one ends when the fresh one has been answered, and with it its
        streams. `died`: the connection of the old one has died."""
        self._generation += 1
        if self._current is not None:
            self._current.died = self._current.died or died
            if self._current.proven and self._nursery is not None:
                self._nursery.start_soon(self._try)

    async def _try(self) -> None:
        with suppress(ForwardError):  # whoever asks next is told
            await self.read("/version")

    async def read(self, path: str) -> bytes:
        """Return the API server's answer to a GET of `path`. Raises ForwardError: TOO_SLOW after TIMEOUT seconds of
        silence. A long answer over a slow line may take longer."""
        async with self._turns:
            try:
                return await self._read(path)
            except Interrupted:  # now by a fresh process, or over a fresh connection
                return await self._read(path)

    async def _read(self, path: str) -> bytes:
        process = await self._serving()
        with trio.move_on_after(TIMEOUT) as silence:
            async with self._asking(process, path) as answer:
                body = bytearray()
                async for piece in answer.body:
                    body += piece
                    silence.deadline = trio.current_time() + TIMEOUT
                if answer.status != 200:
                    await self._refused(process, path, answer, bytes(body))
                self._prove(process)
                return bytes(body)
        raise ForwardError(too_slow(TIMEOUT))

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """Around the block, send a GET of `path`; yields the lines of the answer as they arrive. They end when the API
        server ends them in order. Raises ForwardError: Interrupted (also out of the block) if they break off. Waits
        without a limit."""
        process = await self._serving()
        async with self._asking(process, path) as answer:
            if answer.status != 200:
                await self._refused(process, path, answer, b"".join([piece async for piece in answer.body]))
            self._prove(process)
            async with aclosing(lines(answer.body, _EVENT)) as found:
                yield found

    async def _serving(self) -> ApiProcess:
        if self._current is not None and self._is_fresh(self._current):
            return self._current
        return await self._starts.ask(None, self._start)

    def _is_fresh(self, process: ApiProcess) -> bool:
        return (
            process.generation == self._generation
            and not process.ended.is_set()
            and process.marks == marks_of(self._cluster, os.environ)
        )

    async def _start(self) -> ApiProcess:
        if self._current is not None:
            if self._current.proven:
                self._old.append(self._current)
            else:
                self._current.scope.cancel()
            self._current = None
        if self._failures > 1:
            await trio.sleep(delay(*_AGAIN, self._failures - 2))
        await self._runs.until(lambda: self._nursery is not None)
        assert self._nursery is not None
        fresh = ApiProcess(self._cluster, marks_of(self._cluster, os.environ), self._generation)
        lost = partial(self._lost, fresh)
        with trio.move_on_after(TIMEOUT):
            await self._nursery.start(fresh.run, self._binary, self._guard, self._folder, lost)
            self._current = fresh
            return fresh
        raise ForwardError(Problem(Cause.KUBECTL, f"{self._binary} proxy does not begin to serve in {TIMEOUT:g} s"))

    def _lost(self, process: ApiProcess, why: str) -> None:
        if process is self._current:
            self._failures = self._failures + 1 if trio.current_time() - process.begun < _WELL else 1
            if self._failures == 1:
                self._notice(f"{self._label} {why}. A fresh one is started")
            elif self._failures == 2:
                self._notice(f"{self._label} {why}, as the one before it. It is started again, with growing pauses")

    def _prove(self, process: ApiProcess) -> None:
        process.proven = True
        if process is self._current:
            for old in self._old:
                old.scope.cancel()
            self._old = []

    @asynccontextmanager
    async def _asking(self, process: ApiProcess, path: str) -> AsyncIterator[Answer]:
        waiting = trio.CancelScope()
        if self._nursery is not None:
            self._nursery.start_soon(self._find_out, process, waiting)
        try:
            async with get(process.socket, path) as answer:
                waiting.cancel()
                yield answer
        except (Gone, Cut) as error:
            await self._interrupted(process, isinstance(error, Gone))
            raise Interrupted(process.died) from error
        finally:
            waiting.cancel()

    async def _interrupted(self, process: ApiProcess, gone: bool) -> None:
        """Its socket is gone, or an answer broke off: it was ended, or its connection to the API server is suspected
        to be dead."""
        with trio.move_on_after(_SETTLE):
            await process.ended.wait()
        if process is not self._current or process.ended.is_set() or process.generation != self._generation:
            return
        if gone:
            self._notice(f"{self._label} has lost its socket {process.socket}. A fresh one is started")
            self.begin_anew()
        elif process.died or trio.current_time() - process.begun > _WELL:
            self.begin_anew()

    async def _refused(self, process: ApiProcess, path: str, answer: Answer, body: bytes) -> NoReturn:
        if answer.status == 500 and answer.text:  # kubectl itself
            words = body.decode(errors="replace").strip()
            if CONNECTION_LOST in words:
                if process is self._current:
                    self.begin_anew(died=True)
                raise Interrupted(died=True)
            raise ForwardError(proxy_failed(words, await process.words_since(answer.begun), self._cluster))
        if answer.status != 401:
            self._prove(process)
        elif process is self._current:  # a fresh one may find other credentials; not at once: a plugin may ask somebody
            self._generation += 1
        raise ForwardError(refused(answer.status, body, path, self._cluster))

    async def _find_out(self, process: ApiProcess, waiting: trio.CancelScope) -> None:
        """A question may get no answer because its object is slow, because a credential plugin waits for its user, or
        because the connection is dead. In the last case a fresh process is asked. `waiting` ends with the answer."""
        with waiting:
            await trio.sleep(_OVERDUE)
            if process.doubted or not process.proven:
                return
            process.doubted = True
            try:
                with trio.move_on_after(_CHECK), suppress(Gone, Cut, ForwardError):
                    async with get(process.socket, "/version"):
                        return
                if process is self._current and not process.signs_in():
                    self.begin_anew(died=True)
            finally:
                process.doubted = False
