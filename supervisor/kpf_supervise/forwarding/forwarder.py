"""One forward: keeps its tunnels on the pod to use, and decides which ends of a tunnel use up an attempt."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio

from kpf_supervise.discovery.pods import Pod
from kpf_supervise.discovery.resolver import Endpoint, TargetResolver
from kpf_supervise.forwarding.acceptor import ConnectionAcceptor
from kpf_supervise.forwarding.listener import Listening
from kpf_supervise.forwarding.pool import Tools, TunnelPool
from kpf_supervise.forwarding.relay import SETTLE
from kpf_supervise.forwarding.tunnel import Tunnel
from kpf_supervise.model import FINAL, LOGIN, OUTAGE, Cause, ForwardError, Problem, State, Status, Trigger
from kpf_supervise.primitives.backoff import Tries, delay
from kpf_supervise.primitives.signal import Signal

_LONGEST_REST = 5.0  # seconds at most between the rounds that clients of a failed forward start
_ALL_OF_THEM = (Cause.REMOTE_REFUSED, Cause.POD_GONE)  # these concern the pod, so they apply to all its tunnels


class Forwarder:
    """Keeps one forward running. It shares nothing with other forwards except its Tools."""

    def __init__(self, status: Status, listening: Listening, tools: Tools) -> None:
        self.settings = status.forward
        self.status = status
        host = f"[{self.settings.address}]" if ":" in self.settings.address else self.settings.address
        self.local = f"{host}:{listening.port}"
        self._tools = tools
        self._signal = Signal()
        self._acceptor = ConnectionAcceptor(self.settings, status, listening, self._signal)
        self._resolver = TargetResolver(self.settings, tools.watches, self._signal, self._pods_changed)
        self._pool = TunnelPool(status, self._acceptor, self._resolver, tools, self._signal)
        self._starting = trio.CancelScope()  # scope of _start
        self._served: Pod | None = None  # the pod on which the last tunnel became ready
        self._suspect: tuple[str, int] | None = None  # the incarnation of a pod that refused connections
        self._renewed = 0  # the resolver's value when the tunnel was started
        self._retiring = ""  # why the last tunnel was retired although it worked
        self._lived = 0.0  # seconds for which the last tunnel worked
        self._round = trio.CancelScope()  # scope of _keep

    async def run(self) -> None:
        """Serve until cancelled, then close the connections and end the children."""
        try:
            async with trio.open_nursery() as nursery:
                self._pool.nursery = self._resolver.nursery = nursery
                nursery.start_soon(self._acceptor.run)
                while True:
                    with self._round:
                        await self._keep()
                    self._round = trio.CancelScope()
        finally:
            self._resolver.close()

    def begin(self) -> None:
        """Report the initial state, before anything is done."""
        if self.settings.lazy:
            self._rest()
        else:
            self._say(Trigger.CONNECT, f"looking for a pod of {self.settings.target}")

    def _rest(self) -> None:
        self._say(Trigger.QUIET, f"{self.local} listens; kubectl starts with the first connection")

    def restart(self) -> None:
        """Start over with a fresh kubectl and all attempts. Connections through the old one end. The port stays bound,
        and held connections go to the new one."""
        self._pool.drop()
        self._acceptor.fallback = None
        self.status.pod = None
        self._resolver.look_again = True
        self._say(Trigger.CONNECT, f"restarted: looking for a pod of {self.settings.target}")
        self._round.cancel()

    async def _keep(self) -> None:
        """Find a pod, start a tunnel on it and serve, in a loop. Never returns."""
        tries = Tries(self.settings.reconnect)
        failed_rounds = 0
        while True:
            if self.settings.lazy and not self._acceptor.clients:
                if self.status.state is not State.IDLE:
                    self._rest()
                self._pool.nursery.start_soon(self._look_ahead)
                await self._signal.until(lambda: self._acceptor.clients > 0)
            endpoint, self._lived = None, 0.0
            try:
                endpoint = await self._resolver.find(self._wait_for_pod)
                if not await self._start(endpoint):
                    continue
                failed_rounds = 0
                problem = await self._serve(endpoint)
            except ForwardError as trouble:
                problem = trouble.problem
            if problem is None or (endpoint is not None and self._outdated):
                continue  # a replaced pod is not a failure
            self._resolver.look_again = True
            blind = endpoint is None and problem.cause not in FINAL  # it failed while looking for a pod
            expired = problem.cause in LOGIN and not failed_rounds  # the watch may not know yet; it checks for all
            if (blind or expired or problem.cause in OUTAGE) and await self._resolver.is_outage():
                await self._await_api(problem)
                tries.fresh()
                continue
            pod = endpoint.pod if endpoint is not None and problem.cause is Cause.REMOTE_REFUSED else None
            self._suspect = pod.incarnation if pod is not None else None
            pause = None if problem.cause in FINAL else tries.lost(self._lived)
            if pause is not None:
                await self._pause(problem, pause, tries.made)
            else:
                await self._fail(problem, failed_rounds)
                failed_rounds += 1
                tries.fresh()

    async def _look_ahead(self) -> None:
        """Look up the target early: the first client only waits for kubectl. Errors are reported when it connects."""
        with suppress(ForwardError):
            await self._resolver.look_up()

    def _wait_for_pod(self, reason: str) -> None:
        lost, self._acceptor.fallback = "", None
        if self.status.state in (State.ACTIVE, State.CONNECTING) and self._served is not None:
            lost = f"lost {self._served.name}, which {self._resolver.why_left(self._served)}. "
        problem = self._resolver.none_ready(reason)
        text = f"{lost}{problem.message}. Connections to {self.local} are held"
        self._say(Trigger.NO_POD, text, problem=problem)

    async def _start(self, endpoint: Endpoint) -> bool:
        """Start a tunnel, which takes the connections from now on. False if `endpoint` became outdated meanwhile.
        Raises ForwardError."""
        self._resolver.pod, self._renewed = endpoint.pod, self._resolver.renewed
        self.status.remote = endpoint.remote if isinstance(endpoint.remote, int) else None
        if self.status.state is not State.CONNECTING:
            self._say(Trigger.CONNECT, f"starting kubectl for {endpoint.what}, port {endpoint.remote}")
        left = self._left_for(endpoint)
        suspected = endpoint.pod is not None and endpoint.pod.incarnation == self._suspect
        with trio.CancelScope() as self._starting:
            tunnel = await self._pool.add(endpoint, suspected)
        if self._starting.cancelled_caught:
            return False
        self._acceptor.fallback = None
        self._signal.tell()
        self.status.pod = tunnel.label
        self._tell_ready(endpoint, tunnel.took, left)
        return True

    def _left_for(self, endpoint: Endpoint) -> str:
        """Why the forward leaves the old pod. Determined now: the old pod may be gone when the new one serves."""
        left = self._served
        if left is None or endpoint.pod is None or left.incarnation == endpoint.pod.incarnation:
            return ""
        return f"{left.name} {self._resolver.why_left(left)}"

    def _tell_ready(self, endpoint: Endpoint, took: float, left: str) -> None:
        self._served = endpoint.pod
        retiring, self._retiring = self._retiring, ""
        where = f"{endpoint.label}:{endpoint.remote} ({took:.2f} s)"
        if retiring:
            self._say(Trigger.READY, f"{retiring} → a fresh kubectl on {where}", kind="moved")
        elif left:
            self._say(Trigger.READY, f"{left} → {where}", kind="moved")
        else:
            self._say(Trigger.READY, f"{self.local} → {self.settings.target}, pod {where}")

    async def _serve(self, endpoint: Endpoint) -> Problem | None:
        """Serve until no tunnel is left to use. Returns the reason, or None if that uses up no attempt."""
        try:
            async with trio.open_nursery() as nursery:
                if self.settings.children > 1:
                    nursery.start_soon(self._pool.fill, endpoint)
                problem = await self._while_served()
                nursery.cancel_scope.cancel()
        finally:
            self.status.pod = None
        return problem

    async def _while_served(self) -> Problem | None:
        acceptor = self._acceptor
        while True:
            if self._resolver.renewed != self._renewed:
                for tunnel in acceptor.tunnels:
                    tunnel.retire(self._resolver.why_renewed, suspect=True)
            if self._resolver.moved_on():
                acceptor.fallback = acceptor.admitting() if self._resolver.lingers(self._resolver.pod) else None
                self._let_go(acceptor.tunnels, None)
                return None
            rejected = [tunnel for tunnel in acceptor.tunnels if not tunnel.accepts]
            if rejected:
                problem = await self._verdict(rejected)
                if problem is not None and problem.cause in _ALL_OF_THEM:
                    rejected = acceptor.tunnels
                self._let_go(rejected, problem)
                if not acceptor.tunnels:
                    return problem
                why = problem.message if problem is not None else rejected[0].retiring
                left = f"{len(acceptor.tunnels)} of its kubectls serve on, and a fresh one is started"
                self._say(Trigger.THINNED, f"{why}; {left}")
            quiet_until = float("inf")
            if self.settings.lazy and self.settings.idle_timeout is not None and not acceptor.clients:
                quiet_until = acceptor.quiet_since + self.settings.idle_timeout
                if trio.current_time() >= quiet_until:
                    self._let_go(acceptor.tunnels, None)
                    return None
            with trio.move_on_at(quiet_until):
                await self._signal.wait()

    async def _verdict(self, rejected: list[Tunnel]) -> Problem | None:
        """What is wrong with these tunnels; None if they are only retiring."""
        for tunnel in rejected:
            if tunnel.fault is not None and tunnel.fault.cause is Cause.LOST:
                await tunnel.ended_within(SETTLE)  # it is about to end, and its output says why
        return next((tunnel.fault for tunnel in rejected if tunnel.fault is not None), None)

    def _let_go(self, tunnels: list[Tunnel], problem: Problem | None) -> None:
        for tunnel in [each for each in tunnels if each in self._acceptor.tunnels]:  # a restart may have removed some
            self._retiring = tunnel.retiring
            self._lived = self._pool.retire(tunnel, problem)

    async def _await_api(self, problem: Problem) -> None:
        self._say(Trigger.RETRY, f"as soon as the API server answers: {problem.message}", problem=problem)
        await self._signal.until(lambda: not self._resolver.outage)

    async def _pause(self, problem: Problem, pause: float, attempt: int) -> None:
        """Wait before an attempt. A change of the pod to use, or a new list of pods, ends the wait early."""
        of = self.settings.reconnect.attempts
        when = f"in {pause:.1f} s" if pause else "now"
        message = f"attempt {attempt}{f' of {of}' if of else ''} {when}: {problem.message}"
        pod = self._resolver.pod
        if pod is not None and pod.name not in message:
            message += f" (pod {pod.name})"
        self._say(Trigger.RETRY, message, problem=problem, attempt=attempt, attempts=of, delay=round(pause, 3))
        listed = self._resolver.listed
        with trio.move_on_after(pause):
            await self._signal.until(lambda: self._resolver.moved_on() or self._resolver.listed != listed)

    async def _fail(self, problem: Problem, failed_rounds: int) -> None:
        """Report the failure and wait for a possible fix: a pod becomes ready, the API server answers again, or a
        client waits. There is a pause between rounds, to avoid a storm of attempts."""
        resolver, acceptor = self._resolver, self._acceptor
        acceptor.closing = problem.cause in FINAL or problem.cause is Cause.REMOTE_REFUSED
        self._say(Trigger.GIVE_UP, str(problem), problem=problem)
        self._signal.tell()
        usable, listed, arrived = resolver.usable(), resolver.listed, acceptor.arrived
        rested = trio.current_time() + delay(self.settings.reconnect.initial, _LONGEST_REST, failed_rounds)
        while True:
            new_pod = not resolver.usable() <= usable
            called = acceptor.arrived > arrived or (self.status.held > 0 and not acceptor.closing)
            hope = new_pod or called or resolver.listed != listed
            if (new_pod and resolver.knows_target) or (hope and trio.current_time() >= rested):
                return
            with trio.move_on_at(rested if hope else float("inf")):
                await self._signal.wait()

    def _pods_changed(self) -> None:
        if self._outdated:
            self._starting.cancel()
        self._signal.tell()

    @property
    def _outdated(self) -> bool:
        """Whether another pod is to be used now, or the connection used to start the tunnel was found dead."""
        return self._resolver.moved_on() or self._resolver.renewed != self._renewed

    def _say(self, trigger: Trigger, message: str, **facts: Any) -> None:
        self.status.context, self.status.namespace = self._resolver.place
        self._tools.board.changed(self.status, trigger, message, **facts)
