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
_RESORT = 1.0  # seconds of holding after which a child that was to be left is better than none; kubectl starts in 0.1


class Reception:
    """`children` is where new connections go, the one with the fewest of them first; while none of these is fit, they
    are held. `closing`: what is held is let go."""

    def __init__(self, settings: Forward, status: Status, listening: Listening, news: News) -> None:
        self.children: list[Child] = []  # oldest first; those beyond the number that is asked for are to spare
        self.resort: Child | None = None  # its pod is about to go, but is there; for whoever was held for long
        self.closing = False
        self.clients = 0  # connected now, held or not
        self.arrived = 0  # ever
        self.quiet_since = trio.current_time()  # where there are no clients
        self._hold_for = settings.hold
        self._spread = settings.children
        self._status = status
        self._listening = listening
        self._news = news

    async def run(self) -> None:
        """Accept until cancelled; the connections are closed then. The listeners stay open: others hold them, too."""
        await trio.serve_listeners(self._serve, list(self._listening.duplicate().listeners))

    @property
    def fit(self) -> list[Child]:
        return [child for child in self.children if child.fit]

    def admitting(self) -> Child | None:
        return min(self.fit[: self._spread], key=lambda child: child.connections, default=None)

    def _choose(self, since: float) -> Child | None:
        """For a client that has been there `since` then."""
        child = self.admitting()
        if child is None and self.resort is not None and self.resort.fit and trio.current_time() >= since + _RESORT:
            return self.resort
        return child

    async def _serve(self, stream: trio.SocketStream) -> None:
        """Hold until there is a child, then join; again where the child never served it. Closes the connection."""
        client = Client(stream)
        since = trio.current_time()
        self.clients += 1
        self.arrived += 1
        self.closing = False
        self._news.tell()
        try:
            await self._spare_stalled_children()
            while await self._hold(client, since):
                child = self._choose(since)
                if child is None:  # retired while the waiting ended
                    continue
                self._status.connections += 1
                try:
                    if await carry(client, child, self._status):
                        break
                finally:
                    self._status.connections -= 1
                await child.settle(_VERDICT)
                if trio.current_time() >= since + self._hold_for:
                    break
        finally:
            self.clients -= 1
            self.quiet_since = trio.current_time()
            self._news.tell()
            await trio.aclose_forcefully(stream)

    async def _spare_stalled_children(self) -> None:
        if any(child.wedges and child.connections for child in self.children):
            await trio.sleep(_NOTICE)
        for child in self.children:
            if child.stalled > _STALL:
                child.wear("a client reads nothing, which stalls all connections of its kubectl")

    async def _hold(self, client: Client, since: float) -> bool:
        """Wait until there is a child to use; False where the client left, its time is up, or all is lost."""

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
                with trio.move_on_at(since + _RESORT):
                    await self._news.until(over)
                await self._news.until(over)
                nursery.cancel_scope.cancel()
                return not self.closing
        finally:
            self._status.held -= 1
        return False
