"""One API server as one user sees it, asked through one long-lived `kubectl proxy`.

kubectl then reads the kubeconfig, logs in and connects once, and not again for each question and each watch.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import NoReturn

import trio

from kpf_supervise.api.connection import Answer, Cut, Gone
from kpf_supervise.api.errors import CONNECTION_LOST, proxy_failed, refused, unreached
from kpf_supervise.api.line import SILENT, Line
from kpf_supervise.api.process import READING, ApiProcess
from kpf_supervise.kubectl.contexts import marks_of
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.kubectl.process import TIMEOUT, lines, too_slow
from kpf_supervise.model import OUTAGE, Cause, Cluster, ForwardError, Problem
from kpf_supervise.primitives.backoff import delay
from kpf_supervise.primitives.hedge import hedged
from kpf_supervise.primitives.signal import Signal
from kpf_supervise.primitives.single_flight import SingleFlight
from kpf_supervise.sign_in.login import Login
from kpf_supervise.sign_in.logins import SocketFolder

_EVENT = 8 * 1024 * 1024  # bytes of a line of a stream; an object in etcd has at most 1.5 MiB
_AT_A_TIME = 64  # questions; macOS refuses a connection if 128 wait to be accepted
_INTERRUPTIONS = 4  # after which a question is given up
_AGAIN = (0.5, 3.0)  # seconds: first and longest pause before a start, if the last processes ended by themselves
_WELL = 10.0  # seconds after which a process has proved itself: what happens to it is no reason for a pause
_SMALL = "/version"  # the small question: every user may ask it (ClusterRole system:public-info-viewer)
_KNOCK = 1.0  # seconds between two attempts to get through. One over a dead line takes 10 to fail, even if it is back
_OVERDUE = 4.0  # seconds without an answer after which it is found out whether the connection is dead
_QUIET = 10.0  # seconds after which the same is found out if nothing was asked
_CHECK = 5.0  # seconds for an answer to the small question that finds it out
_SETTLE = 0.1  # seconds until it is known whether a process has ended, or what it says about its connection
_GONE = 0.5  # seconds until its end is known that has left a socket which nobody serves


class Interrupted(ForwardError):
    """An answer broke off."""

    def __init__(self) -> None:
        step = "Check with: kubectl get --raw /version"
        super().__init__(Problem(Cause.API_UNREACHABLE, "the API server's answer broke off", step))


class ApiServer:
    """Answers questions while `run` runs. The first one starts the process; `cluster` names its context."""

    def __init__(
        self,
        binary: str,
        cluster: Cluster,
        guard: OrphanGuard,
        folder: SocketFolder,
        notice: Callable[[str], None],
        login: Login | None = None,
        lets_through: Sequence[str] = READING,
    ) -> None:
        self.line = Line(partial(self.read, _SMALL))
        self.login = login or Login(cluster)  # where kubectl needs none, or does it by itself
        self._binary = binary
        self._lets_through = lets_through  # options of `kubectl proxy`
        self._cluster = cluster
        self._guard = guard
        self._folder = folder
        self._notice = notice
        self._label = f"{cluster.context or 'the cluster'}: the kubectl that reads from the API server"
        self._current: ApiProcess | None = None
        self._old: list[ApiProcess] = []  # they serve the streams that they have until the current one is proven
        self._generation = 0  # a process of an older one is to be replaced
        self._failures = 0  # consecutive processes that ended soon after their start
        self._opening: SingleFlight[None, ApiProcess] = SingleFlight()
        self._turns = trio.CapacityLimiter(_AT_A_TIME)
        self._nursery: trio.Nursery | None = None
        self._runs = Signal()

    async def run(self) -> None:
        """Keep the processes that questions start. Never returns."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._runs.tell()
                await self.line.run()
        finally:
            self._nursery = None

    def begin_anew(self, died: bool = False) -> None:
        """Ask a fresh process from now on. The old one ends when the fresh one has been answered, and with it its
        streams. `died`: the connection of the old one has died, and whatever was asked over it is asked again."""
        self._generation += 1
        if self._current is not None:
            if died:
                self._current.interrupt()
                self.line.lost(SILENT)
            if self._current.connected and self._nursery is not None:
                self._nursery.start_soon(self._try)

    async def _try(self) -> None:
        with suppress(ForwardError):  # whoever asks next is told
            await self.read(_SMALL)

    async def read(self, path: str, posted: bytes = b"") -> bytes:
        """Return the API server's answer to a GET of `path`, or to a POST of the JSON text `posted`. Raises
        ForwardError: TOO_SLOW after TIMEOUT seconds of silence. A long answer over a slow line may take longer."""
        async with self._turns:
            for _ in range(_INTERRUPTIONS):
                with suppress(Interrupted):  # now by a fresh process, or over a fresh connection
                    return await self._read(path, posted)
            return await self._read(path, posted)

    async def _read(self, path: str, posted: bytes) -> bytes:
        process = await self._serving()
        with self.login.limit(TIMEOUT) as silence:
            async with self._asking(process, path, posted) as answer:
                body = bytearray()
                with process.unanswered():
                    async for piece in answer.body:
                        body += piece
                        silence.restart()
                if answer.status not in (200, 201):
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
        """A process through which the API server has answered."""
        process = self._current
        if process is None or not process.connected or not self._is_fresh(process):
            return await self._opening.ask(None, self._open)
        await self.login.ready()  # its user may take any time for it, and no limit runs
        return process

    def _is_fresh(self, process: ApiProcess) -> bool:
        same = process.generation == self._generation and process.marks == marks_of(self._cluster, os.environ)
        return same and not process.ended.is_set()

    async def _open(self) -> ApiProcess:
        for _ in range(_INTERRUPTIONS):
            process = self._current
            if process is None or not self._is_fresh(process):
                process = await self._start()
            with suppress(Interrupted):
                await self._connect(process)
                return process
        raise Interrupted

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
        await self.login.prepare()  # a sign-in goes on beside
        marks = marks_of(self._cluster, os.environ)
        fresh = ApiProcess(self._cluster, marks, self._generation, self.login, self._lets_through)
        lost = partial(self._lost, fresh)
        with trio.move_on_after(TIMEOUT):
            await self._nursery.start(fresh.run, self._binary, self._guard, self._folder, lost)
            self._current = fresh
            return fresh
        raise ForwardError(Problem(Cause.KUBECTL, f"{self._binary} proxy does not begin to serve in {TIMEOUT:g} s"))

    async def _connect(self, process: ApiProcess) -> None:
        """Have it ask the small question again and again until one of them is answered. Raises ForwardError."""
        await self.login.ready()
        async with self.login.alone():
            while not process.connected:
                with trio.move_on_after(TIMEOUT):
                    await hedged(partial(self._ask_small, process), _KNOCK)
                    process.connected = True
                if not process.connected and not process.signs_in():
                    self.line.lost(too_slow(TIMEOUT))
                    raise ForwardError(too_slow(TIMEOUT))
        self.line.back()
        assert self._nursery is not None
        self._nursery.start_soon(self._mind, process)

    def _lost(self, process: ApiProcess, why: str) -> None:
        if process is not self._current:
            return
        self._failures = self._failures + 1 if trio.current_time() - process.begun < _WELL else 1
        if self._failures <= 2:
            again = ", as the one before it. It is started again, with growing pauses"
            self._notice(f"{self._label} {why}{'. A fresh one is started' if self._failures == 1 else again}")

    def _prove(self, process: ApiProcess) -> None:
        process.proven = True
        process.kubectl.accepted()
        if process is self._current:
            for old in self._old:
                old.scope.cancel()
            self._old = []

    @asynccontextmanager
    async def _asking(self, process: ApiProcess, path: str, posted: bytes = b"") -> AsyncIterator[Answer]:
        try:
            async with process.get(path, posted) as answer:
                yield answer
        except (Gone, Cut) as error:
            await self._interrupted(process, isinstance(error, Gone))
            raise Interrupted from error

    async def _interrupted(self, process: ApiProcess, gone: bool) -> None:
        """Its socket is gone, or an answer broke off: it was ended, or its connection to the API server is suspected
        to be dead."""
        with trio.move_on_after(_GONE if gone else _SETTLE):
            await process.ended.wait()
        if process is not self._current or process.ended.is_set() or process.generation != self._generation:
            return
        if gone:
            self._notice(f"{self._label} has lost its socket {process.socket}. A fresh one is started")
            self.begin_anew()
        elif process.died or trio.current_time() - process.begun > _WELL:
            self.begin_anew(process.died)

    async def _refused(self, process: ApiProcess, path: str, answer: Answer, body: bytes) -> NoReturn:
        if answer.by_proxy:
            words = body.decode(errors="replace").strip()
            if CONNECTION_LOST in words:
                if process is self._current:
                    self.begin_anew(died=True)
                raise Interrupted
            problem = proxy_failed(words, await process.words_since(answer.begun), self._cluster)
            if problem.cause is Cause.CREDENTIALS and self.login.shared and self.login.problem is None:
                if process is self._current:  # there is one, and it can't be told
                    self.begin_anew()
                raise Interrupted
            if process is self._current and problem.cause in OUTAGE:
                if unreached(words):
                    self.line.lost(problem)
                else:
                    self.line.back()
            raise ForwardError(process.kubectl.reword(problem))
        if answer.status != 401:
            self._prove(process)
        elif self.login.shared and self.login.problem is None:  # ask again, with another credential
            if not process.kubectl.renewed(answer.begun):  # it could not ask us for one
                process.kubectl.refused()
                if process is self._current:
                    self.begin_anew()
            raise Interrupted
        elif process is self._current:  # a fresh one may find other credentials; not at once: a plugin may ask somebody
            self._generation += 1
        raise ForwardError(process.kubectl.reword(refused(answer.status, body, path, self._cluster)))

    async def _mind(self, process: ApiProcess) -> None:
        """Find out when its connection dies, as long as it is the one that is asked. A question may also get no answer
        because its object is slow, or because a credential plugin waits for its user."""
        while process is self._current and process.generation == self._generation and not process.ended.is_set():
            asked = process.unanswered_since
            due = process.heard + _QUIET if asked is None else max(process.heard, asked) + _OVERDUE
            with trio.move_on_at(due):
                await process.asked.wait()
            if trio.current_time() < due:
                continue
            try:
                with trio.move_on_after(_CHECK) as silence:
                    await self._ask_small(process)
                if silence.cancelled_caught and process is self._current and not process.signs_in():
                    self.begin_anew(died=True)
            except Interrupted:
                await trio.sleep(_SETTLE)
            except ForwardError:  # a plugin may open a window each time: only if somebody needs an answer
                await process.asked.wait()

    async def _ask_small(self, process: ApiProcess) -> None:
        """Raises ForwardError if kubectl itself could not ask; any answer of the API server will do."""
        async with self._asking(process, _SMALL) as answer:
            if answer.by_proxy:
                await self._refused(process, _SMALL, answer, b"".join([piece async for piece in answer.body]))
