"""The one thing that the parts of a forward wait for: that some fact has changed."""

from __future__ import annotations

from collections.abc import Callable

import trio


class Signal:
    """Wakes whoever waits; the facts themselves are read again after each wake-up."""

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
