"""The connections that come to one forward's local port: held while no child takes them, then carried."""

from __future__ import annotations

import trio

from .child import Child
from .listener import Listening
from .model import Forward, Status
from .news import News
from .relay import Client, carry

_STALL = 0.1  # seconds: whoever lets its kubectl wait so long makes the others there wait too
_NOTICE = 0.005  # seconds: a client that broke off before this one came is seen by then
_VERDICT = 1.0  # seconds in which a child that did not serve a connection is known to be a bad one


class Reception:
    """`child` is where new connections go; None: they are held. `closing`: what is held is let go."""

    def __init__(self, settings: Forward, status: Status, listening: Listening, news: News) -> None:
        self.child: Child | None = None
        self.closing = False
        self.clients = 0  # connected now, held or not
        self.arrived = 0  # ever
        self.quiet_since = trio.current_time()  # where there are no clients
        self._hold_for = settings.hold
        self._status = status
        self._listening = listening
        self._news = news

    async def run(self) -> None:
        """Accept until cancelled; the listeners are closed then, and the connections."""
        await trio.serve_listeners(self._serve, list(self._listening.listeners))

    def admitting(self) -> Child | None:
        child = self.child
        return child if child is not None and child.fault is None and not child.worn else None

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Hold until there is a child, then join; again where the child never served it. Closes the connection."""
        client = Client(stream)
        deadline = trio.current_time() + self._hold_for
        self.clients += 1
        self.arrived += 1
        self.closing = False
        self._news.tell()
        try:
            await self._spare_a_stalled_child()
            while await self._hold(client, deadline):
                child = self.admitting()
                if child is None:  # retired while the waiting ended
                    continue
                self._status.connections += 1
                try:
                    if await carry(client, child, self._status):
                        break
                finally:
                    self._status.connections -= 1
                await child.settle(_VERDICT)
                if trio.current_time() >= deadline:
                    break
        finally:
            self.clients -= 1
            self.quiet_since = trio.current_time()
            self._news.tell()
            await trio.aclose_forcefully(stream)

    async def _spare_a_stalled_child(self) -> None:
        child = self.admitting()
        if child is None:
            return
        if child.wedges and child.connections:
            await trio.sleep(_NOTICE)
        if child.stalled > _STALL:
            child.wear("a client reads nothing, which stalls all connections of its kubectl")

    async def _hold(self, client: Client, deadline: float) -> bool:
        """Wait until there is a child to use; False where the client left, its time is up, or all is lost."""
        if self.admitting() is not None:
            return True
        self._status.held += 1
        try:
            async with trio.open_nursery() as nursery:
                nursery.cancel_scope.deadline = deadline

                async def leave() -> None:
                    await client.left()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(leave)
                await self._news.until(lambda: self.admitting() is not None or self.closing)
                nursery.cancel_scope.cancel()
                return not self.closing
        finally:
            self._status.held -= 1
        return False
