"""Limits how many kubectls start at the same time, since too many slow each other down."""

from __future__ import annotations

from collections.abc import Callable

import trio


class PriorityLimiter:
    """Lets `count` tasks run at a time. Waiting tasks are served by lowest rank, then in order of arrival."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[tuple[Callable[[], int], trio.Event]] = []

    async def take(self, rank: Callable[[], int]) -> None:
        """Wait for a turn. `rank` is called each time a turn becomes free. Call `release` when done."""
        if self._free:
            self._free -= 1
            return
        waiting = (rank, trio.Event())
        self._waiting.append(waiting)
        try:
            await waiting[1].wait()
        except trio.Cancelled:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            else:  # its turn came after it was cancelled, and before it ran
                self.release()
            raise

    def release(self) -> None:
        if not self._waiting:
            self._free += 1
            return
        following = min(self._waiting, key=lambda each: each[0]())
        self._waiting.remove(following)
        following[1].set()
