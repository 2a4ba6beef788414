"""One forward: finds its pod, keeps a child on it, and serves the connections that come to its local port."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import trio

from .backoff import HEALTHY, Tries, delay
from .board import Board
from .child import Child
from .keeper import Keeper
from .kubectl import WEDGE_FREE, environment, port_forward
from .listener import Listening
from .model import FINAL, Cause, Happening, Problem, State, Status, Trouble
from .pods import Destination, Pod, choose, concerns, destination, path_of, remote_port
from .relay import SETTLE, Client, carry
from .watch import Watch
from .watches import Watches

_PROOF = 1.0  # seconds of silence that prove that a pod which refused before now takes connections
_GONE_GRACE = 3.0  # seconds that old connections keep after their pod is gone; a real tunnel ends them itself
_STALL = 0.1  # seconds: whoever lets its kubectl wait so long makes the others there wait too
_NOTICE = 0.005  # seconds: a client that broke off before this one came is seen by then
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


class News:
    """Wakes whoever waits for any change of the facts; the facts are read again after each wake-up."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def tell(self) -> None:
        self._event.set()
        self._event = trio.Event()

    async def wait(self) -> None:
        await self._event.wait()

    async def until(self, true: Callable[[], bool]) -> None:
        while not true():
            await self.wait()


class Forwarder:
    """Keeps one declared forward. Nothing in it is shared with another one but its Tools."""

    def __init__(self, status: Status, listening: Listening, tools: Tools) -> None:
        self.settings = status.forward
        self.status = status
        self._listening = listening
        self._tools = tools
        self._news = News()
        self._watch: Watch | None = None
        self._where: Destination | None = None
        self._look_again = False  # the target's object may have changed since it was read
        self._pod: Pod | None = None  # the one in use or last used
        self._family: tuple[str, str] | None = None  # the controller of a pod named in full
        self._served: Pod | None = None  # the one that the last child got ready on
        self._suspect: tuple[str, int] | None = None  # the incarnation of a pod that refused connections
        self._child: Child | None = None  # new connections go there; None: they are held
        self._starting: Child | None = None
        self._worn = ""  # why the last child was let go though it works
        self._clients = 0
        self._arrived = 0
        self._quiet_since = trio.current_time()
        self._closing = False  # failed for good: held connections are let go

    async def run(self) -> None:
        """Serve until cancelled. On the way out closes the listeners, the connections and the children."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(trio.serve_listeners, self._serve_client, list(self._listening.listeners))
                await self._keep()
        finally:
            if self._watch is not None:
                self._watch.listeners.discard(self._pods_changed)

    # ── the way of a connection ──

    async def _serve_client(self, stream: trio.SocketStream) -> None:
        """Hold until there is a child, then join; again where the child never served it. Closes the connection."""
        client = Client(stream)
        deadline = trio.current_time() + self.settings.hold
        self._clients += 1
        self._arrived += 1
        self._closing = False
        self._news.tell()
        if (child := self._admitting()) is not None:
            if child.wedges and child.connections:
                await trio.sleep(_NOTICE)
            if child.stalled > _STALL:
                child.wear("a client reads nothing, which stalls all connections of its kubectl")
        try:
            while await self._hold(client, deadline):
                child = self._admitting()
                if child is None:  # retired while the waiting ended
                    continue
                self.status.connections += 1
                try:
                    if await carry(client, child, self.status):
                        break
                finally:
                    self.status.connections -= 1
                await child.settle(1.0)  # its end may not be known yet
                if trio.current_time() >= deadline:
                    break
        finally:
            self._clients -= 1
            self._quiet_since = trio.current_time()
            self._news.tell()
            await trio.aclose_forcefully(stream)

    async def _hold(self, client: Client, deadline: float) -> bool:
        """Wait until there is a child to use; False where the client left, its time is up, or all is lost."""
        if self._admitting() is not None:
            return True
        self.status.held += 1
        try:
            async with trio.open_nursery() as nursery:
                nursery.cancel_scope.deadline = deadline

                async def leave() -> None:
                    await client.left()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(leave)
                await self._news.until(lambda: self._admitting() is not None or self._closing)
                nursery.cancel_scope.cancel()
                return not self._closing
        finally:
            self.status.held -= 1
        return False

    def _admitting(self) -> Child | None:
        child = self._child
        return child if child is not None and child.fault is None and not child.worn else None

    # ── the way of the forward ──

    async def _keep(self) -> None:
        """Find a pod, start a child, serve, and again; decides what an end costs. Never returns."""
        tries = Tries(self.settings.reconnect)
        failed_rounds = 0
        while True:
            if self.settings.lazy and not self._clients:
                self._say(Happening.QUIET, f"{self.local} listens; kubectl starts with the first connection")
                await self._news.until(lambda: self._clients > 0)
            found, lived = False, 0.0
            try:
                pod, what, remote = await self._find()
                found = True
                child = await self._start(pod, what, remote)
                failed_rounds = 0
                problem = await self._serve(child)
                lived = self._retire(child, problem)
            except Trouble as trouble:
                problem = trouble.problem
            if problem is None or (found and self._moved_on()):
                continue  # a pod that was replaced is no failure
            self._look_again = True
            self._suspect = self._pod.incarnation if self._pod and problem.cause is Cause.REMOTE_REFUSED else None
            pause = None if problem.cause in FINAL else tries.lost(lived)
            if pause is not None:
                await self._pause(problem, pause, tries.made)
            else:
                await self._fail(problem, failed_rounds)
                failed_rounds += 1
                tries.fresh()

    async def _find(self) -> tuple[Pod | None, str, int | str]:
        """The pod to use, what kubectl is to call it, and its port; says so where it has to wait for one. The pod is
        None where pods may not be listed: kubectl then finds it itself. Raises Trouble."""
        target = self.settings.target
        if self._watch is None:
            self._watch = await self._tools.watches.of(self.settings.cluster, self.settings.namespace)
            self._watch.listeners.add(self._pods_changed)
        watch = self._watch
        if self._where is None or self._look_again:
            path = path_of(target, watch.namespace)
            self._where = destination(target, await self._ask(path) if path else None)
            self._look_again = False
        if watch.denied and not watch.blind:
            await watch.refresh()
        said = ""
        while True:
            if watch.problem is not None:
                raise Trouble(watch.problem)
            if watch.blind:
                if target.kind == "selector":
                    raise Trouble(Problem(Cause.FORBIDDEN, "a selector needs the right to list pods"))
                return None, str(target), self.settings.remote
            if watch.listed:
                choice = choose(self._where, watch.pods, self._pod, self._family)
                self._family = choice.family
                if choice.pod is not None:
                    remote = remote_port(self._where, choice.pod, self.settings.remote)
                    return choice.pod, f"pod/{choice.pod.name}", remote
                if choice.missing:  # kubectl's own answer also tells whether there is such a namespace
                    await self._ask(f"/api/v1/namespaces/{watch.namespace}/pods/{target.name}")
                if watch.denied:
                    raise Trouble(Problem(Cause.NO_READY_POD, f"{target} has no ready pod: {choice.reason}"))
                if not said or (choice.stuck and choice.reason != said):
                    said = choice.reason
                    self._wait_for_pod(said)
            await self._news.wait()

    async def _ask(self, path: str) -> Any:
        assert self._watch is not None
        try:
            return await self._watch.ask(path)
        except Trouble as trouble:
            problem = trouble.problem
            named = problem.message.replace("in the namespace", f"in namespace {self._watch.namespace}")
            raise Trouble(replace(problem, message=named)) from None

    def _wait_for_pod(self, reason: str) -> None:
        lost = ""
        if self.status.state in (State.ACTIVE, State.CONNECTING) and self._served is not None:
            lost = f"lost {self._served.name}, which {self._why_left(self._served)}. "
        problem = Problem(Cause.NO_READY_POD, f"{self.settings.target} has no ready pod: {reason}")
        self._say(Happening.NO_POD, f"{lost}{problem.message}; new connections are held", problem=problem)

    async def _start(self, pod: Pod | None, what: str, remote: int | str) -> Child:
        """A child that takes the connections from now on. Raises Trouble, also where the pod goes away meanwhile."""
        assert self._watch is not None
        self._pod = pod
        version = self._tools.watches.version
        child = Child(pod.name if pod else what, self._news.tell, version is not None and version < WEDGE_FREE)
        command = port_forward(self._tools.binary, self._watch.cluster, self._watch.namespace, what, remote)
        self._say(Happening.CONNECT, f"starting kubectl for {what}, port {remote}")
        await self._tools.starting.acquire_on_behalf_of(child)
        self._nursery.start_soon(self._give_way, child)
        self._starting = child
        try:
            await self._nursery.start(
                child.run, command, self._tools.keeper, environment(os.environ, self.settings.protocol)
            )
        finally:
            self._starting = None
        if pod is not None and pod.incarnation == self._suspect:
            await self._prove(child)
        self._child = child
        self._news.tell()
        self.status.pod = child.label
        self.status.children += 1
        left, self._served = self._served, pod
        if self._worn:
            message = f"{self._worn} → a fresh kubectl on {child.label}:{remote} ({child.took:.2f} s)"
        elif left is not None and pod is not None and left.incarnation != pod.incarnation:
            message = f"{left.name} {self._why_left(left)} → {child.label}:{remote} ({child.took:.2f} s)"
        else:
            message = f"{self.local} → {self.settings.target}, pod {child.label}:{remote} ({child.took:.2f} s)"
        self._say(Happening.READY, message, kind=None if message.startswith(self.local) else "moved")
        self._worn = ""
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
                probe = await trio.open_tcp_stream("127.0.0.1", child.port)
                async with probe:
                    if await probe.receive_some(1) == b"":
                        await child.settle(SETTLE)
        except OSError:
            await child.settle(SETTLE)
        if child.fault is not None:
            child.scope.cancel()
            raise Trouble(child.fault)

    async def _serve(self, child: Child) -> Problem | None:
        """Until the child is no longer the one to use: why, or None where that costs no attempt."""
        while child.fault is None:
            if self._moved_on() or child.worn:
                return None
            quiet_until = float("inf")
            if self.settings.lazy and self.settings.idle_timeout is not None and not self._clients:
                quiet_until = self._quiet_since + self.settings.idle_timeout
                if trio.current_time() >= quiet_until:
                    return None
            with trio.move_on_at(quiet_until):
                await self._news.wait()
        # a child that said it no longer forwards is about to say why and end, but need not (kubectl 1.20)
        await child.ended_within(SETTLE)
        return child.fault

    def _retire(self, child: Child, problem: Problem | None) -> float:
        """Give it no new connections; returns for how many seconds it was a good child."""
        self._child = None
        self._worn = child.worn
        self.status.pod = None
        self._nursery.start_soon(self._drain, child, self._pod)
        if problem is not None and problem.cause is Cause.STREAM and child.proven:
            return HEALTHY  # it worked: one connection that broke makes no bad child
        return trio.current_time() - child.since

    async def _drain(self, child: Child, pod: Pod | None) -> None:
        """Let the connections of a retired child run on until they end, or a moment after its pod is gone."""
        with trio.CancelScope() as patience:
            while child.connections and child.problem is None:
                if patience.deadline == float("inf") and self._is_gone(pod):
                    patience.deadline = trio.current_time() + _GONE_GRACE
                await self._news.wait()
        child.scope.cancel()

    async def _pause(self, problem: Problem, pause: float, attempt: int) -> None:
        """Wait before an attempt, shorter where the facts change."""
        of = self.settings.reconnect.attempts
        when = f"in {pause:.1f} s" if pause else "now"
        count = f"{attempt} of {of}" if of else f"{attempt}"
        message = f"attempt {count} {when}: {problem.message}"
        if self._pod is not None and self._pod.name not in message:
            message += f" (pod {self._pod.name})"
        self._say(Happening.RETRY, message, problem=problem, attempt=attempt, attempts=of, delay=round(pause, 3))
        listed = self._listed()
        with trio.move_on_after(pause):
            await self._news.until(lambda: self._moved_on() or self._listed() != listed)

    async def _fail(self, problem: Problem, failed_rounds: int) -> None:
        """Say so, and wait for what may have mended it: a pod that becomes ready, the API server that answers again,
        or a client that waits. Rounds are kept apart, so that no storm comes of them."""
        self._closing = problem.cause in FINAL or problem.cause is Cause.REMOTE_REFUSED
        self._say(Happening.GIVE_UP, str(problem), problem=problem)
        self._news.tell()
        usable, listed, arrived = self._usable(), self._listed(), self._arrived
        rested = trio.current_time() + delay(self.settings.reconnect.initial, _LONGEST_REST, failed_rounds)
        while True:
            new_pod = not self._usable() <= usable
            called = self._arrived > arrived or (self.status.held > 0 and not self._closing)
            hope = new_pod or called or self._listed() != listed
            if (new_pod and self._where is not None) or (hope and trio.current_time() >= rested):
                return
            with trio.move_on_at(rested if hope else float("inf")):
                await self._news.wait()

    # ── the facts ──

    @property
    def local(self) -> str:
        host = self.settings.address
        return f"[{host}]:{self._listening.port}" if ":" in host else f"{host}:{self._listening.port}"

    def _pods_changed(self, pod: Pod | None) -> None:
        if pod is not None and self._where is not None and not concerns(self._where, self._family, pod):
            return
        if self._starting is not None and self._moved_on():
            self._starting.scope.cancel()
        self._news.tell()

    def _moved_on(self) -> bool:
        """Whether the watch knows that the pod in use is not the one to use any more."""
        watch, pod = self._watch, self._pod
        if watch is None or watch.denied or watch.problem or self._where is None or pod is None:
            return False
        choice = choose(self._where, watch.pods, pod, self._family)
        return choice.pod is None or choice.pod.incarnation != pod.incarnation

    def _why_left(self, pod: Pod) -> str:
        now = next((each for each in self._watch.pods if each.uid == pod.uid), None) if self._watch else None
        if now is None:
            return "was deleted"
        if now.terminating:
            return "is terminating"
        return "restarted" if now.restarts != pod.restarts else "is not ready"

    def _is_gone(self, pod: Pod | None) -> bool:
        return pod is not None and self._watch is not None and all(each.uid != pod.uid for each in self._watch.pods)

    def _usable(self) -> set[tuple[str, int]]:
        if self._watch is None:
            return set()
        where, family = self._where, self._family
        return {
            pod.incarnation
            for pod in self._watch.pods
            if pod.usable and (where is None or concerns(where, family, pod))
        }

    def _listed(self) -> int:
        return self._watch.listed if self._watch else 0

    def _say(self, happening: Happening, message: str, **facts: Any) -> None:
        self._tools.board.changed(self.status, happening, message, **facts)
