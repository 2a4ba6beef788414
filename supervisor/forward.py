"""One forward: keeps a child on the pod to use, and decides what each end of a child costs."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

from .backoff import HEALTHY, Tries, delay
from .board import Board
from .child import Child
from .keeper import Keeper
from .kubectl import WEDGE_FREE, environment, port_forward
from .listener import Listening
from .lookout import Goal, Lookout
from .model import FINAL, OUTAGE, Cause, Happening, Problem, State, Status, Trouble
from .news import News
from .pods import Pod
from .reception import Reception
from .relay import SETTLE
from .watches import Watches

_PROOF = 1.0  # seconds of silence that prove that a pod which refused before now takes connections
_GONE_GRACE = 3.0  # seconds that old connections keep after their pod is gone; a real tunnel ends them itself
_BUSY = 1.0  # seconds that a starting kubectl counts as busy; healthy ones take 0.1
_LONGEST_REST = 5.0  # seconds between the rounds that clients of a failed forward begin


@dataclass(frozen=True, slots=True)
class Tools:
    """What the forwards share."""

    binary: str
    keeper: Keeper
    watches: Watches
    board: Board
    starting: trio.CapacityLimiter  # how many children may be starting at a time


class Forwarder:
    """Keeps one declared forward. Nothing in it is shared with another one but its Tools."""

    def __init__(self, status: Status, listening: Listening, tools: Tools) -> None:
        self.settings = status.forward
        self.status = status
        host = f"[{self.settings.address}]" if ":" in self.settings.address else self.settings.address
        self.local = f"{host}:{listening.port}"
        self._tools = tools
        self._news = News()
        self._reception = Reception(self.settings, status, listening, self._news)
        self._lookout = Lookout(self.settings, tools.watches, self._news, self._pods_changed)
        self._starting: Child | None = None
        self._served: Pod | None = None  # the one that the last child got ready on
        self._suspect: tuple[str, int] | None = None  # the incarnation of a pod that refused connections
        self._renewed = 0  # of the lookout, when the child was begun
        self._worn = ""  # why the last child was let go though it works
        self._round = trio.CancelScope()  # of _keep

    async def run(self) -> None:
        """Serve until cancelled. On the way out closes the listeners, the connections and the children."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._reception.run)
                while True:
                    with self._round:
                        await self._keep()
                    self._round = trio.CancelScope()
        finally:
            self._lookout.close()

    def begin(self) -> None:
        """Say what it is before anything has been done."""
        if self.settings.lazy:
            self._rest()
        else:
            self._say(Happening.CONNECT, f"looking for a pod of {self.settings.target}")

    def _rest(self) -> None:
        self._say(Happening.QUIET, f"{self.local} listens; kubectl starts with the first connection")

    def restart(self) -> None:
        """Begin anew with a fresh kubectl and all attempts. The connections through the old one end; the port stays,
        and those that are held go to the new one."""
        child, self._reception.child = self._reception.child, None
        if child is not None:
            child.scope.cancel()
        self.status.pod = None
        self._lookout.look_again = True
        self._say(Happening.CONNECT, f"restarted: looking for a pod of {self.settings.target}")
        self._round.cancel()

    async def _keep(self) -> None:
        """Find a pod, start a child, serve, and again. Never returns."""
        tries = Tries(self.settings.reconnect)
        failed_rounds = 0
        while True:
            if self.settings.lazy and not self._reception.clients:
                if self.status.state is not State.IDLE:
                    self._rest()
                await self._news.until(lambda: self._reception.clients > 0)
            goal, lived = None, 0.0
            try:
                goal = await self._lookout.find(self._wait_for_pod)
                child = await self._start(goal)
                failed_rounds = 0
                problem = await self._serve(child)
                lived = self._retire(child, problem)
            except Trouble as trouble:
                problem = trouble.problem
            if problem is None or (goal is not None and self._outdated):
                continue  # a pod that was replaced is no failure
            self._lookout.look_again = True
            blind = goal is None and problem.cause not in FINAL  # it got no further than the question for pods
            if (blind or problem.cause in OUTAGE) and await self._lookout.is_outage():
                await self._await_api(problem)
                tries.fresh()
                continue
            pod = goal.pod if goal is not None and problem.cause is Cause.REMOTE_REFUSED else None
            self._suspect = pod.incarnation if pod is not None else None
            pause = None if problem.cause in FINAL else tries.lost(lived)
            if pause is not None:
                await self._pause(problem, pause, tries.made)
            else:
                await self._fail(problem, failed_rounds)
                failed_rounds += 1
                tries.fresh()

    def _wait_for_pod(self, reason: str) -> None:
        lost = ""
        if self.status.state in (State.ACTIVE, State.CONNECTING) and self._served is not None:
            lost = f"lost {self._served.name}, which {self._lookout.why_left(self._served)}. "
        problem = Problem(Cause.NO_READY_POD, f"{self.settings.target} has no ready pod: {reason}")
        text = f"{lost}{problem.message}. Connections to {self.local} are held"
        self._say(Happening.NO_POD, text, problem=problem)

    async def _start(self, goal: Goal) -> Child:
        """A child that takes the connections from now on. Raises Trouble, also where the pod goes away meanwhile."""
        self._lookout.pod, self._renewed = goal.pod, self._lookout.renewed
        version = self._tools.watches.version
        wedges = version is not None and version < WEDGE_FREE
        child = Child(goal.label, self._news.tell, partial(self._tools.board.said, self.status), wedges)
        self.status.remote = goal.remote if isinstance(goal.remote, int) else None
        command = port_forward(self._tools.binary, goal.watch.cluster, goal.watch.namespace, goal.what, goal.remote)
        self.status.command = shlex.join(command)
        if self.status.state is not State.CONNECTING:
            self._say(Happening.CONNECT, f"starting kubectl for {goal.what}, port {goal.remote}")
        await self._tools.starting.acquire_on_behalf_of(child)
        self._nursery.start_soon(self._give_way, child)
        self._starting = child
        try:
            await self._nursery.start(
                child.run, command, self._tools.keeper, environment(os.environ, self.settings.protocol)
            )
        finally:
            self._starting = None
        if goal.pod is not None and goal.pod.incarnation == self._suspect:
            try:
                await self._prove(child)
            except BaseException:
                child.scope.cancel()
                raise
        self._reception.child = child
        self._news.tell()
        self.status.pod = child.label
        self.status.children += 1
        self._tell_ready(goal, child.took)
        return child

    async def _give_way(self, child: Child) -> None:
        """Let the next child start when this one has, or hangs: it is the work of starting that is bounded."""
        try:
            with trio.move_on_after(_BUSY):
                await child.begun.wait()
        finally:
            self._tools.starting.release_on_behalf_of(child)

    async def _prove(self, child: Child) -> None:
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

    def _tell_ready(self, goal: Goal, took: float) -> None:
        left, self._served = self._served, goal.pod
        worn, self._worn = self._worn, ""
        where = f"{goal.label}:{goal.remote} ({took:.2f} s)"
        if worn:
            self._say(Happening.READY, f"{worn} → a fresh kubectl on {where}", kind="moved")
        elif left is not None and goal.pod is not None and left.incarnation != goal.pod.incarnation:
            self._say(Happening.READY, f"{left.name} {self._lookout.why_left(left)} → {where}", kind="moved")
        else:
            self._say(Happening.READY, f"{self.local} → {self.settings.target}, pod {where}")

    async def _serve(self, child: Child) -> Problem | None:
        """Until the child is no longer the one to use: why, or None where that costs no attempt."""
        while child.fault is None:
            if self._lookout.renewed != self._renewed:
                child.wear("connections to the API server had died")
            if self._lookout.moved_on() or child.worn:
                return None
            quiet_until = float("inf")
            if self.settings.lazy and self.settings.idle_timeout is not None and not self._reception.clients:
                quiet_until = self._reception.quiet_since + self.settings.idle_timeout
                if trio.current_time() >= quiet_until:
                    return None
            with trio.move_on_at(quiet_until):
                await self._news.wait()
        if child.fault.cause is Cause.LOST:  # it is about to end, and why is among what it has said
            await child.ended_within(SETTLE)
        return child.fault

    def _retire(self, child: Child, problem: Problem | None) -> float:
        """Give it no new connections; returns for how many seconds it was a good child."""
        self._reception.child = None
        self._worn = child.worn
        self.status.pod = None
        self._nursery.start_soon(self._drain, child, self._lookout.pod)
        if problem is not None and problem.cause is Cause.STREAM and child.proven:
            return HEALTHY  # it worked: one connection that broke makes no bad child
        return trio.current_time() - child.since

    async def _drain(self, child: Child, pod: Pod | None) -> None:
        """Let the connections of a retired child run on until they end, or a moment after its pod is gone."""
        with trio.CancelScope() as patience:
            while child.connections and child.problem is None:
                if patience.deadline == float("inf") and self._lookout.is_gone(pod):
                    patience.deadline = trio.current_time() + _GONE_GRACE
                await self._news.wait()
        child.scope.cancel()

    async def _await_api(self, problem: Problem) -> None:
        self._say(Happening.RETRY, f"as soon as the API server answers: {problem.message}", problem=problem)
        await self._news.until(lambda: not self._lookout.outage)

    async def _pause(self, problem: Problem, pause: float, attempt: int) -> None:
        """Wait before an attempt, shorter where the facts change."""
        of = self.settings.reconnect.attempts
        when = f"in {pause:.1f} s" if pause else "now"
        message = f"attempt {attempt}{f' of {of}' if of else ''} {when}: {problem.message}"
        pod = self._lookout.pod
        if pod is not None and pod.name not in message:
            message += f" (pod {pod.name})"
        self._say(Happening.RETRY, message, problem=problem, attempt=attempt, attempts=of, delay=round(pause, 3))
        listed = self._lookout.listed
        with trio.move_on_after(pause):
            await self._news.until(lambda: self._lookout.moved_on() or self._lookout.listed != listed)

    async def _fail(self, problem: Problem, failed_rounds: int) -> None:
        """Say so, and wait for what may have mended it: a pod that becomes ready, the API server that answers again,
        or a client that waits. Rounds are kept apart, so that no storm comes of them."""
        lookout, reception = self._lookout, self._reception
        reception.closing = problem.cause in FINAL or problem.cause is Cause.REMOTE_REFUSED
        self._say(Happening.GIVE_UP, str(problem), problem=problem)
        self._news.tell()
        usable, listed, arrived = lookout.usable(), lookout.listed, reception.arrived
        rested = trio.current_time() + delay(self.settings.reconnect.initial, _LONGEST_REST, failed_rounds)
        while True:
            new_pod = not lookout.usable() <= usable
            called = reception.arrived > arrived or (self.status.held > 0 and not reception.closing)
            hope = new_pod or called or lookout.listed != listed
            if (new_pod and lookout.knows_target) or (hope and trio.current_time() >= rested):
                return
            with trio.move_on_at(rested if hope else float("inf")):
                await self._news.wait()

    def _pods_changed(self) -> None:
        if self._starting is not None and self._outdated:
            self._starting.scope.cancel()
        self._news.tell()

    @property
    def _outdated(self) -> bool:
        """Whether another pod is to be used by now, or the connection that a child was started over had died."""
        return self._lookout.moved_on() or self._lookout.renewed != self._renewed

    def _say(self, happening: Happening, message: str, **facts: Any) -> None:
        self.status.context, self.status.namespace = self._lookout.place
        self._tools.board.changed(self.status, happening, message, **facts)
