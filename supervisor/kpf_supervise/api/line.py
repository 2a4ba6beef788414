"""Whether anything at all comes from an API server. If nothing does, all connections to it may be dead, tunnels too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from kpf_supervise.model import OUTAGE, Cause, ForwardError, Problem
from kpf_supervise.primitives.signal import Signal

SILENT = Problem(
    Cause.API_UNREACHABLE,
    "nothing comes from the API server any more",
    "Is the VPN up? Check with: kubectl get --raw /version",
)
_AGAIN = 1.0  # seconds between a question that failed and the next


class Line:
    """`ask` puts a small question, and raises ForwardError if it gets no answer."""

    def __init__(self, ask: Callable[[], Awaitable[object]]) -> None:
        self.problem: Problem | None = None  # why nothing comes
        self.listeners: set[Callable[[], None]] = set()  # called when that begins or ends
        self._ask = ask
        self._changed = Signal()

    @property
    def cut_off(self) -> bool:
        return self.problem is not None

    def lost(self, problem: Problem) -> None:
        """Nothing comes."""
        if self.problem is None:
            self.problem = problem
            self._tell()

    def back(self) -> None:
        """Something has come."""
        if self.problem is not None:
            self.problem = None
            self._tell()

    def _tell(self) -> None:
        self._changed.tell()
        for listener in list(self.listeners):
            listener()

    async def run(self) -> None:
        """Ask again and again while nothing comes. Never returns."""
        while True:
            await self._changed.until(lambda: self.cut_off)
            try:
                await self._ask()
                self.back()
            except ForwardError as trouble:
                if trouble.problem.cause in OUTAGE:
                    await trio.sleep(_AGAIN)
                else:  # such as a sign-in that fails: it is for others to ask again
                    await self._changed.wait()
