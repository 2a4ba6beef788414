"""Whether anything at all comes from an API server. If nothing does, all connections to it may be dead, tunnels too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from kpf_supervise.model import OUTAGE, ForwardError
from kpf_supervise.primitives.signal import Signal

_AGAIN = 1.0  # seconds between a question that failed and the next


class Line:
    """`ask` puts a small question, and raises ForwardError if it gets no answer."""

    def __init__(self, ask: Callable[[], Awaitable[object]]) -> None:
        self.cut_off = False  # nothing comes
        self.listeners: set[Callable[[], None]] = set()  # called when `cut_off` has changed
        self._ask = ask
        self._changed = Signal()

    def found(self, cut_off: bool) -> None:
        if self.cut_off is not cut_off:
            self.cut_off = cut_off
            self._changed.tell()
            for listener in list(self.listeners):
                listener()

    async def run(self) -> None:
        """Ask again and again while nothing comes. Never returns."""
        while True:
            await self._changed.until(lambda: self.cut_off)
            try:
                await self._ask()
                self.found(cut_off=False)
            except ForwardError as trouble:
                if trouble.problem.cause in OUTAGE:
                    await trio.sleep(_AGAIN)
                else:  # such as a sign-in that fails: it is for others to ask again
                    await self._changed.wait()
