"""Waits for the first connection to many local ports at once: one task for thousands of sockets.

trio has a task for each socket that is waited for, and each task takes kilobytes. So the sockets are in an epoll (on
macOS: a kqueue) of their own, whose own descriptor is readable when one of them is.
"""

from __future__ import annotations

from collections.abc import Callable
from selectors import EVENT_READ, DefaultSelector

import trio

from kpf_supervise.forwarding.listener import Listening


class Doorbell:
    """Accepts nothing: a connection that has rung waits in the queue of its socket."""

    def __init__(self) -> None:
        self._selector = DefaultSelector()

    def watch(self, listening: Listening, ring: Callable[[], None]) -> None:
        """Call `ring` as long as a connection waits there, until `leave`."""
        for each in listening.sockets:
            self._selector.register(each, EVENT_READ, ring)

    def leave(self, listening: Listening) -> None:
        """Before its sockets are closed, or somebody else accepts from them."""
        for each in listening.sockets:
            self._selector.unregister(each)

    async def run(self) -> None:
        """Call whoever's bell rings. Never returns."""
        while True:
            await trio.lowlevel.wait_readable(self._selector.fileno())
            rings = {key.fileobj: key.data for key, _ in self._selector.select(0)}
            for socket, ring in rings.items():
                if socket in self._selector.get_map():  # both sockets of a forward may ring; the first call is enough
                    ring()
