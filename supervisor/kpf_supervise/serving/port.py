"""A local port beside those of the forwards: open as the settings want it at the time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

import trio

from kpf_supervise.events.board import Board
from kpf_supervise.forwarding.listener import Listening, bind
from kpf_supervise.model import TEMPLATE, ForwardError
from kpf_supervise.primitives.boundary import unbroken

Place = tuple[str, int]  # address ("localhost", or an IP address) and port


@dataclass(slots=True)
class _Open:
    """`ended` is set when the port is released."""

    place: Place
    listening: Listening
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)


class SidePort:
    """What serves it runs in `nursery`; `name` is what is told of it."""

    def __init__(self, name: str, board: Board, nursery: trio.Nursery) -> None:
        self._name, self._board, self._nursery = name, board, nursery
        self._open: _Open | None = None
        self._changing = trio.Lock()

    @property
    def place(self) -> Place | None:
        """Where it listens."""
        return self._open.place if self._open is not None else None

    async def follow(self, apply: Callable[[], Awaitable[None]]) -> bool:
        """Make it as is desired with `apply`, one change at a time. A ForwardError is told. Whether there was none."""
        try:
            async with self._changing:
                await apply()
        except ForwardError as trouble:
            self._board.notice(f"{self._name}: {trouble.problem}")
            return False
        return True

    async def bind(self, place: Place) -> Listening:
        """Sockets to `open` it with. Raises ForwardError: then nothing has changed."""
        return await bind(replace(TEMPLATE, id=self._name, address=place[0], local=place[1]))

    def open(self, place: Place, listening: Listening, parts: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        """Listen there until it is closed. The `parts` run meanwhile, each within a boundary of its own, by what is
        told if it fails."""
        self._open = _Open(place, listening)
        self._nursery.start_soon(self._run, self._open, parts)

    async def close(self) -> bool:
        """Return once the port is released. Whether there was one."""
        now, self._open = self._open, None
        if now is None:
            return False
        now.scope.cancel()
        await now.ended.wait()
        return True

    def told(self, sentence: str) -> None:
        self._board.notice(f"{self._name}: {sentence}")

    async def _run(self, now: _Open, parts: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        try:
            with now.scope:
                async with trio.open_nursery() as nursery:
                    for what, run in parts.items():
                        nursery.start_soon(unbroken, run, self._board.failing(what))
        finally:
            now.listening.close()
            now.ended.set()
