"""A condition to wait for: trio has no condition variable that can be notified without a lock."""

from __future__ import annotations

from collections.abc import Callable

import trio


class Signal:
    """Wakes all waiting tasks. Each task checks its condition again after it wakes up."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def tell(self) -> None:
        self._event.set()
        self._event = trio.Event()

    async def wait(self) -> None:
        await self._event.wait()

    async def until(self, true: Callable[[], bool]) -> None:
        while not true():
            await self.wait()
