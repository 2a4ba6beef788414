"""One forward: gathers what is known, has it decided what is to be done, and does it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from random import random
from typing import Any

import trio

from kpf_supervise.counters import count
from kpf_supervise.decision.decide import decide
from kpf_supervise.decision.facts import (
    Action,
    Admit,
    Adopt,
    Become,
    CheckApi,
    CheckTunnel,
    Facts,
    Forget,
    LetGo,
    Look,
    Memory,
    Notice,
    Reread,
    Start,
    Tell,
)
from kpf_supervise.decision.tunnel_states import Endpoint, Patience, TunnelState
from kpf_supervise.discovery.resolver import TargetResolver
from kpf_supervise.events.board import Board
from kpf_supervise.forwarding.acceptor import ConnectionAcceptor
from kpf_supervise.forwarding.listener import Listening, shown
from kpf_supervise.forwarding.tunnel import Tunnel
from kpf_supervise.kubectl.command_line import WEDGE_FREE, port_forward, to_go_on
from kpf_supervise.kubectl.contexts import Contexts
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.model import Cluster, ForwardError, State, Status
from kpf_supervise.primitives.backoff import Tries
from kpf_supervise.primitives.priority_limiter import PriorityLimiter
from kpf_supervise.primitives.signal import Signal
from kpf_supervise.sign_in.login import Login
from kpf_supervise.watching.watches import Watches

_BUSY = 1.0  # seconds for which a starting kubectl counts as busy; healthy ones take 0.1


@dataclass(frozen=True, slots=True)
class Tools:
    """What the forwards share."""

    contexts: Contexts
    guard: OrphanGuard
    watches: Watches
    board: Board
    starting: PriorityLimiter


class Forwarder:
    """Keeps one forward running. It shares nothing with other forwards except its Tools."""

    def __init__(self, status: Status, listening: Listening, tools: Tools) -> None:
        self.settings = status.forward
        self.status = status
        self.local = shown(self.settings.address, listening.port)
        self._tools = tools
        self._changed = Signal()
        self._resolver = TargetResolver(self.settings, tools.watches, self._changed.tell)
        self._acceptor = ConnectionAcceptor(status, listening, self._decide, self._changed.tell)
        self._tunnels: list[Tunnel] = []  # oldest first
        self._memory = Memory(tries=Tries(self.settings.reconnect))
        self._patience = Patience()
        self._restarts = 0
        self._sleep = trio.CancelScope()  # until a decision is due without anything having changed
        self._nursery: trio.Nursery | None = None
        self._due: list[Callable[[], Awaitable[None]]] = []  # what is to run in the nursery, before there is one

    def begin(self) -> None:
        """Report the initial state, before anything is done."""
        self._decide()

    def restart(self) -> None:
        """Start over with a fresh kubectl and all attempts. Connections through the old one end. The port stays bound,
        and held connections go to the new one."""
        self._restarts += 1
        self._decide()

    async def run(self) -> None:
        """Serve until cancelled, then close the connections and end the children. Returns if it is dormant, and rests
        again after clients have used it."""
        try:
            async with trio.open_nursery() as self._nursery:
                for each in self._due:
                    self._nursery.start_soon(each)
                self._nursery.start_soon(self._accept, self._nursery.cancel_scope)
                while True:
                    self._sleep = trio.CancelScope()
                    self._decide()
                    if self._rests():
                        self._acceptor.rest()
                    with self._sleep:
                        await self._changed.wait()
        finally:
            self._resolver.close()

    async def _accept(self, all: trio.CancelScope) -> None:
        await self._acceptor.run()
        all.cancel()

    def _rests(self) -> bool:
        unused = not self._acceptor.arrived or self._acceptor.clients or self._tunnels
        return self.settings.dormant and self.status.state is State.IDLE and not unused

    def _decide(self) -> None:
        """Decide from what is known now, and do it: nothing here waits."""
        acceptor = self._acceptor
        decision = decide(
            Facts(
                now=trio.current_time(),
                chance=random(),
                settings=self.settings,
                local=self.local,
                state=self.status.state,
                sight=self._resolver.sight(),
                tunnels=self._tunnels,
                held=acceptor.held,
                clients=acceptor.clients,
                arrived=acceptor.arrived,
                quiet_since=acceptor.quiet_since,
                restarts=self._restarts,
            ),
            self._memory,
        )
        self._memory = decision.memory
        self._resolver.family = decision.memory.family
        for action in decision.actions:
            self._do(action)
        self._show_pods()
        self.status.held = len(acceptor.held)
        self._sleep.deadline = decision.look_at

    def _do(self, action: Action) -> None:
        """Each is done once, even if it is asked for again."""
        match action:
            case Tell():
                self._tell(action)
            case Notice():
                self._tools.board.notice(action.message)
            case Look():
                if not self._resolver.looking:
                    self._want_login()
                    self._resolver.looking = True
                    self._spawn(self._resolver.look, action.again, action.pod)
            case Reread():
                self._spawn(self._resolver.reread)
            case CheckApi():
                self._resolver.check_api()
            case Start():
                self._start(action)
            case Adopt(Tunnel() as tunnel, endpoint):
                tunnel.adopt(endpoint)
                self._show(endpoint)
            case Become(Tunnel() as tunnel):
                self._become(tunnel, action)
            case CheckTunnel(Tunnel() as tunnel, renewed):
                if tunnel.begin_check(renewed):
                    self._spawn(tunnel.find_out)
            case Forget(Tunnel() as tunnel):
                if tunnel in self._tunnels:
                    self._tunnels.remove(tunnel)
            case Admit(client, Tunnel() as tunnel):
                self._acceptor.admit(client, tunnel)
            case LetGo(client, why):
                self._acceptor.let_go(client, why)

    def _tell(self, action: Tell) -> None:
        cluster, self.status.namespace = self._resolver.place
        self.status.context = cluster.context
        self._show_pods()
        if action.left is not None:
            count(self.status.counters.moves, action.left.word)
        self._tools.board.changed(
            self.status,
            action.trigger,
            action.message,
            problem=action.problem,
            kind=action.kind,
            attempt=action.attempt,
            attempts=action.attempts,
            delay=action.delay,
        )

    def _show_pods(self) -> None:
        serving = [tunnel.endpoint.label for tunnel in self._tunnels if tunnel.state is TunnelState.SERVING]
        self.status.pods = tuple(dict.fromkeys(serving))

    def _become(self, tunnel: Tunnel, action: Become) -> None:
        if tunnel.state is TunnelState.SERVING and action.state is not TunnelState.SERVING:
            count(self.status.counters.losses, tunnel.cause(action.reason))
        tunnel.become(action.state, action.reason, action.because, action.renewed)
        if action.state is TunnelState.SERVING:  # by now kubectl's version is known
            version = self._tools.contexts.version
            tunnel.wedges = version is not None and version < WEDGE_FREE
        if action.state is TunnelState.ENDED:
            tunnel.scope.cancel()

    def _start(self, action: Start) -> None:
        starting = [tunnel for tunnel in self._tunnels if tunnel.state is TunnelState.STARTING]
        if action.endpoint in [tunnel.endpoint for tunnel in starting]:
            return
        cluster, namespace = self._resolver.place
        endpoint = action.endpoint
        tunnel = Tunnel(
            endpoint,
            self._changed.tell,
            partial(self._tools.board.said, self.status),
            cluster=cluster,
            renewed=action.renewed,
            prove=action.prove,
            early=action.early,
            patience=self._patience,
            login=self._resolver.login,
        )
        assert namespace is not None

        def command(cluster: Cluster) -> list[str]:
            binary = self._tools.contexts.binary
            return port_forward(binary, cluster, namespace, endpoint.what, endpoint.remote, action.early)

        self.status.command = shlex.join(command(cluster))
        self._show(endpoint)
        self._tunnels.append(tunnel)
        self._spawn(self._run, tunnel, cluster, command)

    def _show(self, endpoint: Endpoint) -> None:
        self.status.remote = endpoint.remote if isinstance(endpoint.remote, int) else None

    async def _run(self, tunnel: Tunnel, cluster: Cluster, command: Callable[[Cluster], list[str]]) -> None:
        login = self._resolver.login
        with tunnel.scope:
            try:
                self._want_login()
                await login.ready()  # its user may take any time for it, and no limit runs
                if login.by_kubectl:
                    await login.turn.take(self._rank)
                    self._spawn(self._give_turn, tunnel, login)
                await self._tools.starting.take(self._rank)
                self._spawn(self._give_way, tunnel)
                with login.kubectl(cluster) as tunnel.kubectl:
                    environment = {**to_go_on(os.environ, self.settings.protocol), **tunnel.kubectl.environment}
                    await tunnel.run(command(tunnel.kubectl.cluster), self._tools.guard, environment)
            except ForwardError as trouble:
                tunnel.fails(trouble.problem)
            finally:
                tunnel.begun.set()

    def _want_login(self) -> None:
        """A client waits: that may begin a sign-in that has failed."""
        if self._acceptor.held:
            self._resolver.login.call()

    async def _give_turn(self, tunnel: Tunnel, login: Login) -> None:
        """The next kubectl of this user may sign in when this one has."""
        try:
            await tunnel.begun.wait()
        finally:
            login.turn.release()

    def _rank(self) -> int:
        """Tunnels that held clients wait for come first, spares last."""
        serves = any(tunnel.state is TunnelState.SERVING for tunnel in self._tunnels)
        return 2 if serves else 0 if self.status.held else 1

    async def _give_way(self, tunnel: Tunnel) -> None:
        """Let the next tunnel start when this one has started or hangs: only the work of starting is limited."""
        try:
            with trio.move_on_after(_BUSY):
                await tunnel.begun.wait()
        finally:
            self._tools.starting.release()

    def _spawn(self, function: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Run it beside, as long as the forward runs."""
        if self._nursery is None:
            self._due.append(partial(function, *args))
        else:
            self._nursery.start_soon(function, *args)
