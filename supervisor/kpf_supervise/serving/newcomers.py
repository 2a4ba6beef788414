"""Limits how many clients of a port may be connected that have asked for nothing yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Newcomers:
    """One more than `most`, and the oldest of them is cancelled."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[trio.CancelScope, None] = {}  # oldest first

    @contextmanager
    def waiting(self) -> Iterator[trio.CancelScope]:
        """Around the life of a connection, which counts until the scope is given to `greeted`."""
        while len(self._waiting) >= self._most:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.cancel()
        with trio.CancelScope() as scope:
            self._waiting[scope] = None
            try:
                yield scope
            finally:
                self.greeted(scope)

    def greeted(self, scope: trio.CancelScope) -> None:
        self._waiting.pop(scope, None)
