"""The tunnels of one forward: started on the pod to use, and retired when they should no longer be used."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from functools import partial

import trio

from kpf_supervise.discovery.resolver import Endpoint, TargetResolver
from kpf_supervise.discovery.watches import Watches
from kpf_supervise.events.board import Board
from kpf_supervise.forwarding.acceptor import ConnectionAcceptor
from kpf_supervise.forwarding.relay import SETTLE
from kpf_supervise.forwarding.tunnel import Patience, Tunnel
from kpf_supervise.kubectl.command_line import WEDGE_FREE, port_forward, to_go_on
from kpf_supervise.kubectl.contexts import Contexts
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.model import Cause, ForwardError, Problem, Reconnect, Status
from kpf_supervise.primitives.backoff import HEALTHY, Tries
from kpf_supervise.primitives.priority_limiter import PriorityLimiter
from kpf_supervise.primitives.signal import Signal

_PROOF = 1.0  # seconds of silence that prove that a pod accepts connections again after it refused
_GONE_GRACE = 3.0  # seconds that connections are kept after their pod is gone; a real tunnel ends them itself
_STALLED = 8  # kubectls per forward, at most, that are kept for clients that read nothing
_BUSY = 1.0  # seconds for which a starting kubectl counts as busy; healthy ones take 0.1


@dataclass(frozen=True, slots=True)
class Tools:
    """What the forwards share."""

    contexts: Contexts
    guard: OrphanGuard
    watches: Watches
    board: Board
    starting: PriorityLimiter


class TunnelPool:
    """Adds tunnels to `acceptor.tunnels` and removes them. They run in `nursery`."""

    def __init__(
        self, status: Status, acceptor: ConnectionAcceptor, resolver: TargetResolver, tools: Tools, signal: Signal
    ) -> None:
        self.nursery: trio.Nursery
        self._settings = status.forward
        self._status = status
        self._acceptor = acceptor
        self._resolver = resolver
        self._tools = tools
        self._signal = signal
        self._patience = Patience()
        self._draining: set[Tunnel] = set()  # retired, with open connections
        self._lived: float | None = None  # seconds for which the last retired tunnel worked

    async def add(self, endpoint: Endpoint, prove: bool = False) -> Tunnel:
        """Start a tunnel that takes connections from now on; with `prove`, only if a test connection is not refused.
        Raises ForwardError. If cancelled, nothing is left of the tunnel."""
        binary, version = self._tools.contexts.binary, self._tools.contexts.version
        tunnel = Tunnel(
            endpoint.label,
            self._signal.tell,
            partial(self._tools.board.said, self._status),
            cluster=endpoint.watch.cluster,
            pod=endpoint.pod,
            wedges=version is not None and version < WEDGE_FREE,
            patience=self._patience,
        )
        command = port_forward(binary, endpoint.watch.cluster, endpoint.watch.namespace, endpoint.what, endpoint.remote)
        self._status.command = shlex.join(command)
        await self._tools.starting.take(self._rank)
        self.nursery.start_soon(self._give_way, tunnel)
        await self.nursery.start(tunnel.run, command, self._tools.guard, to_go_on(os.environ, self._settings.protocol))
        try:
            await trio.lowlevel.checkpoint_if_cancelled()  # a restart at the moment when it became ready
            if prove:
                await _prove(tunnel)
        except BaseException:
            tunnel.scope.cancel()
            raise
        self._acceptor.tunnels.append(tunnel)
        self._signal.tell()
        return tunnel

    def _rank(self) -> int:
        """Tunnels that held clients wait for come first, spares last."""
        return 2 if self._acceptor.accepting else 0 if self._status.held else 1

    async def _give_way(self, tunnel: Tunnel) -> None:
        """Let the next tunnel start when this one has started or hangs: only the work of starting is limited."""
        try:
            with trio.move_on_after(_BUSY):
                await tunnel.begun.wait()
        finally:
            self._tools.starting.release()

    async def fill(self, endpoint: Endpoint) -> None:
        """Keep the configured number of tunnels and one spare, until cancelled. A failed start uses up no attempt,
        since the forward works; the next start is delayed with backoff."""
        tries = Tries(Reconnect(attempts=None))
        self._lived = None
        while True:
            await self._signal.until(lambda: 0 < len(self._acceptor.accepting) <= self._settings.children)
            if self._lived is not None:
                await trio.sleep(tries.lost(self._lived) or 0.0)
            try:
                self._lived = None
                await self.add(endpoint)
            except ForwardError:
                self._lived = 0.0

    def retire(self, tunnel: Tunnel, problem: Problem | None = None) -> float:
        """Give it no new connections; open ones continue until they end or can no longer work. Returns for how many
        seconds the tunnel worked; a `problem` with a single connection does not count against it."""
        self._acceptor.tunnels.remove(tunnel)
        self._status.restarts += 1
        self.nursery.start_soon(self._drain, tunnel)
        self._draining.add(tunnel)
        self._bound_stalled()
        one_broke = problem is not None and problem.cause is Cause.STREAM and tunnel.proven
        self._lived = HEALTHY if one_broke else trio.current_time() - tunnel.since
        return self._lived

    def _bound_stalled(self) -> None:
        """Each client that reads nothing takes a kubectl of its own. Beyond _STALLED kubectls, end the one that has
        waited longest for its client, and its connections."""
        stalled = sorted((tunnel for tunnel in self._draining if tunnel.blocked), key=lambda tunnel: -tunnel.stalled)
        for tunnel in stalled[: max(len(stalled) - _STALLED, 0)]:
            waited = f"{tunnel.stalled:.0f} s"
            self._tools.board.notice(
                f"{self._settings.id}: more than {_STALLED} clients read nothing, and each takes a kubectl: the "
                f"connections through the one that has waited longest ({waited}) are ended"
            )
            tunnel.scope.cancel()
            self._draining.discard(tunnel)

    async def _drain(self, tunnel: Tunnel) -> None:
        async with trio.open_nursery() as nursery:
            if tunnel.suspect:
                nursery.start_soon(self._end_if_dead, tunnel)
            with trio.CancelScope() as patience:
                while (tunnel.connections or self._acceptor.fallback is tunnel) and tunnel.problem is None:
                    if patience.deadline == float("inf") and self._resolver.is_gone(tunnel.pod):
                        patience.deadline = trio.current_time() + _GONE_GRACE
                    await self._signal.wait()
            nursery.cancel_scope.cancel()
        tunnel.scope.cancel()
        self._draining.discard(tunnel)

    async def _end_if_dead(self, tunnel: Tunnel) -> None:
        """Once a fresh tunnel has reached the pod, a tunnel that does not answer has lost its connection. End it, so
        that its waiting clients learn that. If a client reads nothing, the check proves nothing."""
        await self._signal.until(lambda: self._acceptor.admitting() is not None)
        if await tunnel.is_dead() and not tunnel.blocked:
            tunnel.scope.cancel()

    def drop(self) -> None:
        """End all tunnels and the connections through them."""
        for tunnel in self._acceptor.tunnels:
            tunnel.scope.cancel()
            self._status.restarts += 1
        self._acceptor.tunnels.clear()


async def _prove(tunnel: Tunnel) -> None:
    """Make a test connection before clients may connect, since the pod refused them before. Raises ForwardError."""
    try:
        with trio.move_on_after(_PROOF):
            tunnel.opened += 1
            async with await trio.open_tcp_stream("127.0.0.1", tunnel.port) as probe:
                if await probe.receive_some(1) == b"":
                    await tunnel.wait_for_fault(SETTLE)
    except (OSError, trio.BrokenResourceError):
        await tunnel.wait_for_fault(SETTLE)
    if tunnel.fault is not None:
        raise ForwardError(tunnel.fault)
