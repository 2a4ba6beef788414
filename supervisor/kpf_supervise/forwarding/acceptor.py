"""The connections to one forward's local port: each is held until it is given a tunnel, then relayed."""

from __future__ import annotations

from collections.abc import Callable

import trio

from kpf_supervise.counters import Unserved, count
from kpf_supervise.decision.facts import HeldClient
from kpf_supervise.decision.tunnel_states import TunnelState
from kpf_supervise.forwarding.client import Client
from kpf_supervise.forwarding.listener import Listening
from kpf_supervise.forwarding.relay import carry
from kpf_supervise.forwarding.tunnel import Tunnel
from kpf_supervise.model import KUBECTL, Cause, Problem, Status

_VERDICT = 1.0  # seconds to wait for a tunnel's fault after it did not serve a connection


class _Held(HeldClient):
    """`decided` is set when it was given a tunnel, or is let go."""

    def __init__(self, since: float, number: int) -> None:
        super().__init__(since, number)
        self.tunnel: Tunnel | None = None
        self.decided = trio.Event()


class ConnectionAcceptor:
    """Accepts connections. `decide` is called when a client waits, and has it given a tunnel or let go: at once where a
    tunnel serves. `changed` is called when a client has left and a decision may depend on that."""

    def __init__(
        self, status: Status, listening: Listening, decide: Callable[[], None], changed: Callable[[], None]
    ) -> None:
        self.held: list[_Held] = []  # oldest first
        self.clients = 0  # connected now, held or not
        self.arrived = 0  # connections accepted so far
        self.quiet_since = trio.current_time()  # valid while there are no clients
        self._status = status
        self._listening = listening
        self._decide = decide
        self._changed = changed
        self._accepting = trio.CancelScope()

    async def run(self) -> None:
        """Accept until cancelled, then close the connections; or until it is to `rest`. The listeners stay open, since
        others hold them too."""
        async with trio.open_nursery() as nursery:
            inbox = self._listening.inbox
            if inbox is not None:
                with inbox.duplicate() as clients:
                    async for client in clients:
                        nursery.start_soon(self._serve, client)
            while inbox is None and (self.clients or not self._accepting.cancel_called):
                with trio.CancelScope() as self._accepting:
                    listeners = self._listening.duplicate().listeners()
                    await trio.serve_listeners(self._accepted, listeners, handler_nursery=nursery)
                await trio.lowlevel.checkpoint()  # now who was accepted last counts as a client

    def rest(self) -> None:
        """Accept no more, if there are no clients: `run` returns then."""
        self._accepting.cancel()

    async def _accepted(self, stream: trio.SocketStream) -> None:
        await self._serve(Client(stream))

    def admit(self, client: HeldClient, tunnel: Tunnel) -> None:
        """The connection counts as the tunnel's from now on: a retired tunnel ends with its last connection."""
        for held in self._take(client):
            held.tunnel = tunnel
            tunnel.connections += 1
            tunnel.newest = client.number
            held.decided.set()

    def let_go(self, client: HeldClient, why: Unserved) -> None:
        for held in self._take(client):
            held.let_go = why
            held.decided.set()

    def _take(self, client: HeldClient) -> list[_Held]:
        """Empty if it is no longer held."""
        found = [held for held in self.held if held is client]
        for held in found:
            self.held.remove(held)
        return found

    async def _serve(self, client: Client) -> None:
        """Hold until there is a tunnel, then relay. Repeat if that tunnel never served it. Closes the connection."""
        self.clients += 1
        self.arrived += 1
        self._status.counters.connections += 1
        since, number = trio.current_time(), self.arrived
        self._status.open.append(client.facts)
        try:
            while (tunnel := await self._hold(client, _Held(since, number))) is not None:
                self._status.connections += 1
                client.facts.held = False
                try:
                    await client.welcome()
                    if await carry(client, tunnel, self._status):
                        break
                finally:
                    self._status.connections -= 1
                    tunnel.connections -= 1
                    if tunnel.state is not TunnelState.SERVING:  # it may have been kept for this connection
                        self._changed()
                client.facts.held = True
                await tunnel.wait_for_fault(_VERDICT)
        except trio.BrokenResourceError:
            pass  # it left before it was told that it is connected
        finally:
            self._status.open.remove(client.facts)
            if not self._status.open:
                self._status.left()
            self.clients -= 1
            self.quiet_since = trio.current_time()
            if self._status.forward.lazy:  # it may be the last one
                self._changed()
            client.dismiss(self._status.forward.id)
            await trio.aclose_forcefully(client.stream)
            client.manners.ended()

    async def _hold(self, client: Client, held: _Held) -> Tunnel | None:
        """Wait until it is given a tunnel. None if the client left, or is let go."""
        begun = trio.current_time()
        self.held.append(held)
        self._decide()
        if not held.decided.is_set():
            try:
                async with trio.open_nursery() as nursery:

                    async def leave() -> None:
                        await client.left()
                        nursery.cancel_scope.cancel()

                    nursery.start_soon(leave)
                    await held.decided.wait()
                    nursery.cancel_scope.cancel()
            finally:
                if self._take(held):
                    self._changed()
        counters = self._status.counters
        counters.held.observe(trio.current_time() - begun)
        if held.tunnel is None:
            count(counters.unserved, held.let_go or Unserved.LEFT)
        if held.let_go is not None:
            await client.turn_away(self._status.problem or Problem(Cause.NO_READY_POD, self._last_words()))
        return held.tunnel

    def _last_words(self) -> str:
        """What was told of the forward last: why it has no tunnel."""
        said = (event.message for event in reversed(self._status.log) if event.kind != KUBECTL)
        return next(said, "nothing is known of its pods yet")
