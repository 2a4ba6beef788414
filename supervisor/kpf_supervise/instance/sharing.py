"""Forwards that several programs share: found or started when one asks, kept as long as somebody's lease runs."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import trio

from kpf_supervise.events.board import Board
from kpf_supervise.instance.leases import next_end, over, renewed
from kpf_supervise.instance.supervisor import Supervisor
from kpf_supervise.kubectl.contexts import Marks, Resolved, marks_of
from kpf_supervise.kubectl.kubeconfigs import paths_of
from kpf_supervise.model import REMOVED, Cause, Cluster, Forward, ForwardError, Problem, State, Status
from kpf_supervise.primitives.boundary import unbroken
from kpf_supervise.primitives.signal import Signal

_FIRST = 10.0  # seconds that whoever has begun an instance has for its first request
_LAST = 1.0  # seconds without a forward after which nobody needs the instance any more

_Place = tuple[tuple[str, ...], str | None, str]  # kubeconfigs, context, namespace


class Shared(NamedTuple):
    """The answer to whoever asked for a forward."""

    status: Status
    found: bool  # it was there already


class Ending(Exception):
    """The instance ends, and does nothing more. Another one has to be asked."""


class Sharing:
    """Finds, starts and stops shared forwards. `clock` gives seconds since the epoch."""

    def __init__(self, supervisor: Supervisor, board: Board, clock: Callable[[], float] = time.time) -> None:
        self._supervisor, self._board, self._clock = supervisor, board, clock
        self._asking = 0  # requests that are not answered yet
        self._awaited = Counter[str]()  # by id: requests that wait for it to become active
        self._choosing = trio.Lock()  # held while it is decided which forward is used, and which one is stopped
        self._changed = Signal()
        self._read: dict[Cluster, tuple[Marks, Resolved]] = {}
        self._closed = False

    async def run(self, end: Callable[[], None] | None = None) -> None:
        """Stop each forward when its lease is over. With `end`, call it once nothing has been listed and nobody has
        asked for a while, and refuse everything from then on; otherwise runs until cancelled."""
        tasks = {"ending leases": self._end_leases, "following what is listed": self._follow}
        async with trio.open_nursery() as nursery:
            for what, task in tasks.items():
                nursery.start_soon(unbroken, task, self._board.failing(what))
            if end is not None:
                await unbroken(self._until_unused, self._board.failing("ending an unused instance"))
                self._board.notice("no forward is listed any more, and nobody asks for one: this instance ends")
                end()

    async def ensure(
        self, wanted: Forward, free_id: Callable[[], str], ttl: float, timeout: float, start: bool = True
    ) -> Shared | None:
        """A forward as it is wanted, active or idle, with its lease renewed for `ttl` seconds: one that is there
        already, whoever lists it, or else a new one with a `free_id`. None if there is none and none is to be started.

        The cluster and the namespace that count are those that the kubeconfig names now. Raises ForwardError if it
        can't become active, or does not within `timeout` seconds: what was started only for this is stopped then,
        unless somebody may still sign in for it. Raises Ending if this instance ends."""
        self._asking += 1
        self._changed.tell()
        try:
            self._check_open()
            if not start and not self._alike(wanted):
                return None  # without a question to kubectl
            shared = await self._choose(await self._placed(wanted), free_id, start)
            if shared is not None:
                await self._await(shared.status, ttl, timeout)
            return shared
        except ForwardError:
            self._check_open()
            await self._sweep()
            raise
        finally:
            self._asking -= 1
            self._changed.tell()

    def _check_open(self) -> None:
        if self._closed or self._supervisor.ending:
            raise Ending

    # --- which forward

    async def _placed(self, wanted: Forward) -> Forward:
        """With the context and the namespace that count now: a later `kubectl config use-context` redirects nobody."""
        cluster = wanted.cluster
        marks = marks_of(cluster, os.environ)
        if self._read.get(cluster, ((), None))[0] != marks:
            self._read[cluster] = marks, await self._supervisor.contexts.read(cluster)
        resolved = self._read[cluster][1]
        return replace(
            wanted,
            cluster=Cluster(cluster.kubeconfig, resolved.cluster.context),
            namespace=wanted.namespace or resolved.namespace,
        )

    async def _choose(self, wanted: Forward, free_id: Callable[[], str], start: bool) -> Shared | None:
        """Whoever comes at the same moment gets the same forward. It is awaited from then on."""
        async with self._choosing:
            shared = await self._find(wanted)
            if shared is None and start:
                forward = replace(wanted, id=free_id())
                await self._supervisor.start(forward)
                status = self._board.statuses[forward.id]
                status.lease, status.left = self._clock(), self._changed.tell
                shared = Shared(status, found=False)
            if shared is not None:
                self._awaited[shared.status.forward.id] += 1
            return shared

    async def _find(self, wanted: Forward) -> Shared | None:
        place = await self._place(wanted)
        for status in self._alike(wanted):
            try:
                if await self._place(status.forward) == place:
                    return Shared(status, found=True)
            except ForwardError:  # its kubeconfig is wrong
                continue
        return None

    def _alike(self, wanted: Forward) -> list[Status]:
        """Those that are as it is wanted, if the place is the same. Each listens, on a port of its own."""
        return [
            status
            for status in self._board.statuses.values()
            if (status.forward.target, status.forward.remote) == (wanted.target, wanted.remote)
            and not status.forward.proxied
            and status.port is not None
            and wanted.local in (None, status.port)
        ]

    async def _place(self, forward: Forward) -> _Place:
        resolved = await self._supervisor.contexts.of(forward.cluster)
        paths = paths_of(forward.cluster, os.environ)
        return paths, resolved.cluster.context, forward.namespace or resolved.namespace

    # --- until it is active

    async def _await(self, status: Status, ttl: float, timeout: float) -> None:
        id = status.forward.id
        try:
            await self._until_usable(status, timeout)
            status.lease = renewed(status.lease, self._clock() + ttl)
        except ForwardError as trouble:
            if trouble.problem.cause is Cause.CREDENTIALS:  # whoever signs in now needs the instance that waits for it
                status.lease = renewed(status.lease, self._clock() + ttl)
            raise
        finally:
            self._awaited[id] -= 1
            self._awaited += Counter()  # only those above 0 stay

    async def _until_usable(self, status: Status, timeout: float) -> None:
        """An idle forward counts: it is lazy, and its first connection is held until its kubectl has started."""
        with self._board.subscription() as events, trio.move_on_after(timeout):
            if status.state is State.FAILED:  # whoever asks may have done something about the reason
                self._supervisor.logins.permit()
                await self._supervisor.restart(status.forward.id)
            while status.state not in (State.ACTIVE, State.IDLE):
                if self._board.statuses.get(status.forward.id) is not status or status.state is State.STOPPED:
                    raise ForwardError(Problem(Cause.OTHER, f"{status.forward.id} was stopped meanwhile"))
                if (final := self._final(status)) is not None:
                    raise ForwardError(final)
                if await anext(events, None) is None:
                    raise Ending
            return
        raise ForwardError(self._not_yet(status))

    def _final(self, status: Status) -> Problem | None:
        """Why it can't become active. A sign-in that has succeeded since counts before its failure is forgotten by all
        who met with it."""
        problem = status.problem if status.hopeless else None
        if problem is not None and problem.cause is Cause.CREDENTIALS:
            logins = list(self._supervisor.logins.of_context(status.context))
            return problem if not logins or any(login.problem is not None for login in logins) else None
        return problem

    def _not_yet(self, status: Status) -> Problem:
        why = status.problem or next((each.message for each in reversed(status.log) if each.printed), "no answer yet")
        cause = status.problem.cause if status.problem else Cause.TOO_SLOW
        if any(login.signing_in for login in self._supervisor.logins.of_context(status.context)):
            cause = Cause.CREDENTIALS
        return Problem(cause, f"{status.forward.id} is still {status.state}: {why}")

    # --- until nobody needs it

    async def _end_leases(self) -> None:
        while True:
            statuses = self._board.statuses.values()
            with trio.move_on_after(max(next_end(statuses, self._awaited) - self._clock(), 0)):
                await self._changed.wait()
            await self._sweep()

    async def _sweep(self) -> None:
        async with self._choosing:
            if ids := over(self._board.statuses.values(), self._awaited, self._clock()):
                self._board.notice(f"stopped, because nobody has a lease any more: {', '.join(ids)}")
                await self._supervisor.stop(ids)

    async def _follow(self) -> None:
        with self._board.subscription() as events:
            async for event in events:
                if event.kind == REMOVED:
                    self._changed.tell()

    async def _until_unused(self) -> None:
        patience = _FIRST
        while not self._closed:
            if self._board.statuses or self._asking:
                patience = _LAST
                await self._changed.wait()
            else:
                with trio.move_on_after(patience):
                    await self._changed.wait()
                    continue
                self._closed = not self._board.statuses and not self._asking
