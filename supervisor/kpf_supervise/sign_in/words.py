"""What a credential plugin says to its user while it signs in: a page to open, a code to enter."""

from __future__ import annotations

from collections.abc import Callable

import trio

_AFTER = 2.0  # seconds after which it is told: a quick plugin has nothing to say to its user
_LINES = 10  # that are told in one sign-in


class Words:
    """`tell` gets the lines of a plugin that takes its time."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._kept: list[str] = []
        self._left = _LINES
        self._telling = False

    def hear(self, line: str) -> None:
        self._kept.append(line)
        if self._telling:
            self._flush()

    async def tell_later(self) -> None:
        """Run it beside the plugin."""
        await trio.sleep(_AFTER)
        self._telling = True
        self._flush()

    def _flush(self) -> None:
        for line in self._kept[: self._left]:
            self._tell(line)
        self._left = max(0, self._left - len(self._kept))
        self._kept.clear()
