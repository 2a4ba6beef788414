"""Who may start a kubectl: only so many at a time, since more make each other slow."""

from __future__ import annotations

from collections.abc import Callable

import trio


class PriorityLimiter:
    """`count` may have theirs at a time. Of those that wait, the lowest rank comes first, then who came first."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[tuple[Callable[[], int], trio.Event]] = []

    async def take(self, rank: Callable[[], int]) -> None:
        """Returns when it is the caller's turn; `rank` is asked each time that one is given. `release` ends it."""
        if self._free:
            self._free -= 1
            return
        waiting = (rank, trio.Event())
        self._waiting.append(waiting)
        try:
            await waiting[1].wait()
        except trio.Cancelled:  # never once it is set
            self._waiting.remove(waiting)
            raise

    def release(self) -> None:
        if not self._waiting:
            self._free += 1
            return
        following = min(self._waiting, key=lambda each: each[0]())
        self._waiting.remove(following)
        following[1].set()
