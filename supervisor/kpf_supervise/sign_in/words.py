"""What a credential plugin says to its user while it signs in: a page to open, a code to enter."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from kpf_supervise.primitives.signal import Signal

_AFTER = 2.0  # seconds after which it is told: a quick plugin has nothing to say to its user
_SETTLE = 0.5  # seconds after a line: the last words of a plugin that fails are told with the failure
_LINES = 10  # that are told in one sign-in


class Words:
    """`tell` gets the lines of a plugin that takes its time."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._heard: list[str] = []
        self._new = Signal()

    def hear(self, line: str) -> None:
        if len(self._heard) < _LINES:
            self._heard.append(line)
            self._new.tell()

    async def tell_later(self) -> None:
        """Run it beside the plugin, and cancel it at its end."""
        await trio.sleep(_AFTER)
        for number in range(_LINES):
            await self._new.until(partial(self._has, number))
            await trio.sleep(_SETTLE)
            self._tell(self._heard[number])

    def _has(self, number: int) -> bool:
        return len(self._heard) > number
