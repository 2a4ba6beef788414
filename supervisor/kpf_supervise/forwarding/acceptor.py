"""The connections to one forward's local port: held while no tunnel accepts connections, then relayed."""

from __future__ import annotations

import trio

from kpf_supervise.forwarding.listener import Listening
from kpf_supervise.forwarding.relay import Client, carry
from kpf_supervise.forwarding.tunnel import Tunnel
from kpf_supervise.model import Forward, Status
from kpf_supervise.primitives.signal import Signal

_STALL = 0.1  # seconds; a client that blocks its kubectl for longer delays the other connections there
_NOTICE = 0.005  # seconds in which the abort of an earlier client is noticed
_VERDICT = 1.0  # seconds to wait for a tunnel's fault after it did not serve a connection
_FALLBACK = 1.0  # seconds of holding after which the tunnel on the old pod is used (a start takes 0.1)


class ConnectionAcceptor:
    """A new connection goes to the accepting tunnel with the fewest connections, among the first `children` of them.
    While no tunnel accepts, connections are held. `closing`: held connections are closed."""

    def __init__(self, settings: Forward, status: Status, listening: Listening, signal: Signal) -> None:
        self.tunnels: list[Tunnel] = []  # oldest first; those beyond the configured number are spares
        self.fallback: Tunnel | None = None  # its pod is about to go but still runs; for long-held connections
        self.closing = False
        self.clients = 0  # connected now, held or not
        self.arrived = 0  # connections accepted so far
        self.quiet_since = trio.current_time()  # valid while there are no clients
        self._hold_for = settings.hold
        self._spread = settings.children
        self._status = status
        self._listening = listening
        self._signal = signal

    async def run(self) -> None:
        """Accept until cancelled, then close the connections. The listeners stay open, since others hold them too."""
        await trio.serve_listeners(self._serve, list(self._listening.duplicate().listeners))

    @property
    def accepting(self) -> list[Tunnel]:
        return [tunnel for tunnel in self.tunnels if tunnel.accepts]

    def admitting(self) -> Tunnel | None:
        return min(self.accepting[: self._spread], key=lambda tunnel: tunnel.connections, default=None)

    def _choose(self, since: float) -> Tunnel | None:
        """The tunnel for a client that connected at `since`."""
        tunnel, fallback = self.admitting(), self.fallback
        if tunnel is None and fallback is not None and fallback.accepts and trio.current_time() >= since + _FALLBACK:
            return fallback
        return tunnel

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Hold until there is a tunnel, then relay. Repeat if that tunnel never served it. Closes `stream`."""
        client = Client(stream)
        since = trio.current_time()
        self.clients += 1
        self.arrived += 1
        self.closing = False
        self._signal.tell()
        try:
            await self._spare_stalled_children()
            while await self._hold(client, since):
                tunnel = self._choose(since)
                if tunnel is None:  # retired just as the wait ended
                    continue
                self._status.connections += 1
                try:
                    if await carry(client, tunnel, self._status):
                        break
                finally:
                    self._status.connections -= 1
                await tunnel.wait_for_fault(_VERDICT)
                if trio.current_time() >= since + self._hold_for:
                    break
        finally:
            self.clients -= 1
            self.quiet_since = trio.current_time()
            self._signal.tell()
            await trio.aclose_forcefully(stream)

    async def _spare_stalled_children(self) -> None:
        if any(tunnel.wedges and tunnel.connections for tunnel in self.tunnels):
            await trio.sleep(_NOTICE)
        for tunnel in self.tunnels:
            if tunnel.stalled > _STALL:
                tunnel.retire("a client reads nothing, which stalls all connections of its kubectl")

    async def _hold(self, client: Client, since: float) -> bool:
        """Wait until there is a tunnel to use. False if the client left, its time is up, or `closing` is set."""

        def over() -> bool:
            return self.closing or self._choose(since) is not None

        if self._choose(since) is not None:
            return True
        self._status.held += 1
        try:
            async with trio.open_nursery() as nursery:
                nursery.cancel_scope.deadline = since + self._hold_for

                async def leave() -> None:
                    await client.left()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(leave)
                with trio.move_on_at(since + _FALLBACK):
                    await self._signal.until(over)
                await self._signal.until(over)
                nursery.cancel_scope.cancel()
                return not self.closing
        finally:
            self._status.held -= 1
        return False
