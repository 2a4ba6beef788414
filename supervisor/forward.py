"""One forward: keeps its children on the pod to use, and decides what each end of one costs."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio

from .backoff import Tries, delay
from .child import Child
from .crew import Crew, Tools
from .listener import Listening
from .lookout import Goal, Lookout
from .model import FINAL, LOGIN, OUTAGE, Cause, Happening, Problem, State, Status, Trouble
from .news import News
from .pods import Pod
from .reception import Reception
from .relay import SETTLE

_LONGEST_REST = 5.0  # seconds between the rounds that clients of a failed forward begin
_ALL_OF_THEM = (Cause.REMOTE_REFUSED, Cause.POD_GONE)  # what one child says of the pod counts for the others too


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
        self._crew = Crew(status, self._reception, self._lookout, tools, self._news)
        self._starting = trio.CancelScope()  # of _start
        self._served: Pod | None = None  # the one that the last child got ready on
        self._suspect: tuple[str, int] | None = None  # the incarnation of a pod that refused connections
        self._renewed = 0  # of the lookout, when the child was begun
        self._worn = ""  # why the last child was let go though it works
        self._lived = 0.0  # seconds for which it had been a good one
        self._round = trio.CancelScope()  # of _keep

    async def run(self) -> None:
        """Serve until cancelled. On the way out closes the connections and the children."""
        try:
            async with trio.open_nursery() as nursery:
                self._crew.nursery = self._lookout.nursery = nursery
                nursery.start_soon(self._reception.run)
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
        self._crew.drop()
        self._reception.resort = None
        self.status.pod = None
        self._lookout.look_again = True
        self._say(Happening.CONNECT, f"restarted: looking for a pod of {self.settings.target}")
        self._round.cancel()

    async def _keep(self) -> None:
        """Find a pod, start a child on it, serve, and again. Never returns."""
        tries = Tries(self.settings.reconnect)
        failed_rounds = 0
        while True:
            if self.settings.lazy and not self._reception.clients:
                if self.status.state is not State.IDLE:
                    self._rest()
                self._crew.nursery.start_soon(self._look_ahead)
                await self._news.until(lambda: self._reception.clients > 0)
            goal, self._lived = None, 0.0
            try:
                goal = await self._lookout.find(self._wait_for_pod)
                if not await self._start(goal):
                    continue
                failed_rounds = 0
                problem = await self._serve(goal)
            except Trouble as trouble:
                problem = trouble.problem
            if problem is None or (goal is not None and self._outdated):
                continue  # a pod that was replaced is no failure
            self._lookout.look_again = True
            blind = goal is None and problem.cause not in FINAL  # it got no further than the question for pods
            expired = problem.cause in LOGIN and not failed_rounds  # the watch may not know it yet, and asks for all
            if (blind or expired or problem.cause in OUTAGE) and await self._lookout.is_outage():
                await self._await_api(problem)
                tries.fresh()
                continue
            pod = goal.pod if goal is not None and problem.cause is Cause.REMOTE_REFUSED else None
            self._suspect = pod.incarnation if pod is not None else None
            pause = None if problem.cause in FINAL else tries.lost(self._lived)
            if pause is not None:
                await self._pause(problem, pause, tries.made)
            else:
                await self._fail(problem, failed_rounds)
                failed_rounds += 1
                tries.fresh()

    async def _look_ahead(self) -> None:
        """Let the first client wait for nothing but a kubectl's start. What is wrong is told when there is one."""
        with suppress(Trouble):
            await self._lookout.look_up()

    def _wait_for_pod(self, reason: str) -> None:
        lost, self._reception.resort = "", None
        if self.status.state in (State.ACTIVE, State.CONNECTING) and self._served is not None:
            lost = f"lost {self._served.name}, which {self._lookout.why_left(self._served)}. "
        problem = self._lookout.none_ready(reason)
        text = f"{lost}{problem.message}. Connections to {self.local} are held"
        self._say(Happening.NO_POD, text, problem=problem)

    async def _start(self, goal: Goal) -> bool:
        """A child that takes the connections from now on; False where another pod is to be used meanwhile. Raises
        Trouble."""
        self._lookout.pod, self._renewed = goal.pod, self._lookout.renewed
        self.status.remote = goal.remote if isinstance(goal.remote, int) else None
        if self.status.state is not State.CONNECTING:
            self._say(Happening.CONNECT, f"starting kubectl for {goal.what}, port {goal.remote}")
        left = self._left_for(goal)
        suspected = goal.pod is not None and goal.pod.incarnation == self._suspect
        with trio.CancelScope() as self._starting:
            child = await self._crew.add(goal, suspected)
        if self._starting.cancelled_caught:
            return False
        self._reception.resort = None
        self._news.tell()
        self.status.pod = child.label
        self._tell_ready(goal, child.took, left)
        return True

    def _left_for(self, goal: Goal) -> str:
        """Why the pod that served is left for another one, as it is now: until that one serves it may be gone."""
        left = self._served
        if left is None or goal.pod is None or left.incarnation == goal.pod.incarnation:
            return ""
        return f"{left.name} {self._lookout.why_left(left)}"

    def _tell_ready(self, goal: Goal, took: float, left: str) -> None:
        self._served = goal.pod
        worn, self._worn = self._worn, ""
        where = f"{goal.label}:{goal.remote} ({took:.2f} s)"
        if worn:
            self._say(Happening.READY, f"{worn} → a fresh kubectl on {where}", kind="moved")
        elif left:
            self._say(Happening.READY, f"{left} → {where}", kind="moved")
        else:
            self._say(Happening.READY, f"{self.local} → {self.settings.target}, pod {where}")

    async def _serve(self, goal: Goal) -> Problem | None:
        """Until no child is left to use: why, or None where that costs no attempt."""
        try:
            async with trio.open_nursery() as nursery:
                if self.settings.children > 1:
                    nursery.start_soon(self._crew.fill, goal)
                problem = await self._while_served()
                nursery.cancel_scope.cancel()
        finally:
            self.status.pod = None
        return problem

    async def _while_served(self) -> Problem | None:
        reception = self._reception
        while True:
            if self._lookout.renewed != self._renewed:
                for child in reception.children:
                    child.wear(self._lookout.why_renewed, doubtful=True)
            if self._lookout.moved_on():
                reception.resort = reception.admitting() if self._lookout.lingers(self._lookout.pod) else None
                self._let_go(reception.children, None)
                return None
            unfit = [child for child in reception.children if not child.fit]
            if unfit:
                problem = await self._verdict(unfit)
                if problem is not None and problem.cause in _ALL_OF_THEM:
                    unfit = reception.children
                self._let_go(unfit, problem)
                if not reception.children:
                    return problem
                why = problem.message if problem is not None else unfit[0].worn
                left = f"{len(reception.children)} of its kubectls serve on, and a fresh one is started"
                self._say(Happening.THINNED, f"{why}; {left}")
            quiet_until = float("inf")
            if self.settings.lazy and self.settings.idle_timeout is not None and not reception.clients:
                quiet_until = reception.quiet_since + self.settings.idle_timeout
                if trio.current_time() >= quiet_until:
                    self._let_go(reception.children, None)
                    return None
            with trio.move_on_at(quiet_until):
                await self._news.wait()

    async def _verdict(self, unfit: list[Child]) -> Problem | None:
        """What is wrong with them; None where they only are worn."""
        for child in unfit:
            if child.fault is not None and child.fault.cause is Cause.LOST:
                await child.ended_within(SETTLE)  # it is about to end, and why is among what it has said
        return next((child.fault for child in unfit if child.fault is not None), None)

    def _let_go(self, children: list[Child], problem: Problem | None) -> None:
        for child in [each for each in children if each in self._reception.children]:  # else restarted meanwhile
            self._worn = child.worn
            self._lived = self._crew.retire(child, problem)

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
        if self._outdated:
            self._starting.cancel()
        self._news.tell()

    @property
    def _outdated(self) -> bool:
        """Whether another pod is to be used by now, or the connection that a child was started over had died."""
        return self._lookout.moved_on() or self._lookout.renewed != self._renewed

    def _say(self, happening: Happening, message: str, **facts: Any) -> None:
        self.status.context, self.status.namespace = self._lookout.place
        self._tools.board.changed(self.status, happening, message, **facts)
