"""The kubectls of one forward: started on the pod to use, and let go when they are no longer to be used."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from functools import partial

import trio

from .backoff import HEALTHY, Tries
from .board import Board
from .child import Child, Patience
from .contexts import Contexts
from .keeper import Keeper
from .kubectl import WEDGE_FREE, port_forward, to_go_on
from .lookout import Goal, Lookout
from .model import Cause, Problem, Reconnect, Status, Trouble
from .news import News
from .reception import Reception
from .relay import SETTLE
from .turns import Turns
from .watches import Watches

_PROOF = 1.0  # seconds of silence that prove that a pod which refused before now takes connections
_GONE_GRACE = 3.0  # seconds that old connections keep after their pod is gone; a real tunnel ends them itself
_STALLED = 8  # kubectls of one forward that are kept for clients that read nothing
_BUSY = 1.0  # seconds that a starting kubectl counts as busy; healthy ones take 0.1


@dataclass(frozen=True, slots=True)
class Tools:
    """What the forwards share."""

    contexts: Contexts
    keeper: Keeper
    watches: Watches
    board: Board
    starting: Turns


class Crew:
    """Fills `reception.children`, and empties it. The children run in `nursery`."""

    def __init__(self, status: Status, reception: Reception, lookout: Lookout, tools: Tools, news: News) -> None:
        self.nursery: trio.Nursery
        self._settings = status.forward
        self._status = status
        self._reception = reception
        self._lookout = lookout
        self._tools = tools
        self._news = news
        self._patience = Patience()
        self._draining: set[Child] = set()  # let go, with connections
        self._lived: float | None = None  # seconds for which the last one that was let go had been a good one

    async def add(self, goal: Goal, prove: bool = False) -> Child:
        """A further child that takes connections from now on; with `prove` only after one of ours was not refused.
        Raises Trouble. Where it is cancelled, nothing is left of it."""
        binary, version = self._tools.contexts.binary, self._tools.contexts.version
        child = Child(
            goal.label,
            self._news.tell,
            partial(self._tools.board.said, self._status),
            cluster=goal.watch.cluster,
            pod=goal.pod,
            wedges=version is not None and version < WEDGE_FREE,
            patience=self._patience,
        )
        command = port_forward(binary, goal.watch.cluster, goal.watch.namespace, goal.what, goal.remote)
        self._status.command = shlex.join(command)
        await self._tools.starting.take(self._rank)
        self.nursery.start_soon(self._give_way, child)
        await self.nursery.start(child.run, command, self._tools.keeper, to_go_on(os.environ, self._settings.protocol))
        try:
            await trio.lowlevel.checkpoint_if_cancelled()  # a restart in the very moment in which it got ready
            if prove:
                await _prove(child)
        except BaseException:
            child.scope.cancel()
            raise
        self._reception.children.append(child)
        self._news.tell()
        return child

    def _rank(self) -> int:
        """Whom clients wait for comes first, what is only to spare last."""
        return 2 if self._reception.fit else 0 if self._status.held else 1

    async def _give_way(self, child: Child) -> None:
        """Let the next child start when this one has, or hangs: it is the work of starting that is bounded."""
        try:
            with trio.move_on_after(_BUSY):
                await child.begun.wait()
        finally:
            self._tools.starting.release()

    async def fill(self, goal: Goal) -> None:
        """Keep as many children as are asked for, and one to spare. Until cancelled. A start that fails costs the
        forward no attempt, since it works; the next one comes with backoff."""
        tries = Tries(Reconnect(attempts=None))
        self._lived = None
        while True:
            await self._news.until(lambda: 0 < len(self._reception.fit) <= self._settings.children)
            if self._lived is not None:
                await trio.sleep(tries.lost(self._lived) or 0.0)
            try:
                self._lived = None
                await self.add(goal)
            except Trouble:
                self._lived = 0.0

    def retire(self, child: Child, problem: Problem | None = None) -> float:
        """Give it no new connections; those that it has run on until they end, or can't any more. Returns for how many
        seconds it was a good child; a `problem` with one connection makes it no bad one."""
        self._reception.children.remove(child)
        self._status.restarts += 1
        self.nursery.start_soon(self._drain, child)
        self._draining.add(child)
        self._bound_stalled()
        one_broke = problem is not None and problem.cause is Cause.STREAM and child.proven
        self._lived = HEALTHY if one_broke else trio.current_time() - child.since
        return self._lived

    def _bound_stalled(self) -> None:
        """Each client that reads nothing costs a kubectl of its own: beyond _STALLED the one that has waited longest
        for its client ends, and its connections with it."""
        stalled = sorted((child for child in self._draining if child.blocked), key=lambda child: -child.stalled)
        for child in stalled[: max(len(stalled) - _STALLED, 0)]:
            waited = f"{child.stalled:.0f} s"
            self._tools.board.notice(
                f"{self._settings.id}: more than {_STALLED} clients read nothing, and each takes a kubectl: the "
                f"connections through the one that has waited longest ({waited}) are ended"
            )
            child.scope.cancel()
            self._draining.discard(child)

    async def _drain(self, child: Child) -> None:
        async with trio.open_nursery() as nursery:
            if child.doubtful:
                nursery.start_soon(self._end_if_dead, child)
            with trio.CancelScope() as patience:
                while (child.connections or self._reception.resort is child) and child.problem is None:
                    if patience.deadline == float("inf") and self._lookout.is_gone(child.pod):
                        patience.deadline = trio.current_time() + _GONE_GRACE
                    await self._news.wait()
            nursery.cancel_scope.cancel()
        child.scope.cancel()
        self._draining.discard(child)

    async def _end_if_dead(self, child: Child) -> None:
        """Once a fresh child has got through to the pod, one that does not must have lost its tunnel: the clients that
        wait on it learn that. One whose client reads nothing can't tell."""
        await self._news.until(lambda: self._reception.admitting() is not None)
        if await child.is_dead() and not child.blocked:
            child.scope.cancel()

    def drop(self) -> None:
        """End all, and the connections through them."""
        for child in self._reception.children:
            child.scope.cancel()
            self._status.restarts += 1
        self._reception.children.clear()


async def _prove(child: Child) -> None:
    """Connect to the pod ourselves before users may, since it refused them before. Raises Trouble."""
    try:
        with trio.move_on_after(_PROOF):
            child.opened += 1
            async with await trio.open_tcp_stream("127.0.0.1", child.port) as probe:
                if await probe.receive_some(1) == b"":
                    await child.settle(SETTLE)
    except (OSError, trio.BrokenResourceError):
        await child.settle(SETTLE)
    if child.fault is not None:
        raise Trouble(child.fault)
