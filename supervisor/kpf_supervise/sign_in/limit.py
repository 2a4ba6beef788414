"""A time limit that stands still while somebody signs in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Limit:
    """`restart` begins it anew, `lift` ends it. Its scope is cancelled when the seconds have passed."""

    def __init__(self, seconds: float, held: bool) -> None:
        self.scope = trio.CancelScope()
        self._seconds = seconds
        self._held = held
        self._lifted = False
        self.restart()

    def restart(self) -> None:
        still = self._held or self._lifted
        self.scope.deadline = float("inf") if still else trio.current_time() + self._seconds

    def lift(self) -> None:
        self._lifted = True
        self.restart()

    def hold(self, held: bool) -> None:
        if held != self._held:
            self._held = held
            self.restart()


class Limits:
    """Those that are running."""

    def __init__(self) -> None:
        self._held = False
        self._running: set[Limit] = set()

    @contextmanager
    def limit(self, seconds: float) -> Iterator[Limit]:
        """The block is cancelled after so many seconds in which nobody signs in."""
        limit = Limit(seconds, self._held)
        self._running.add(limit)
        try:
            with limit.scope:
                yield limit
        finally:
            self._running.discard(limit)

    def hold(self, held: bool) -> None:
        self._held = held
        for limit in self._running:
            limit.hold(held)
