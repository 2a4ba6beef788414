"""All sources of one instance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

import trio

from kpf_supervise.config.contents import ServiceGroup
from kpf_supervise.events.board import Board
from kpf_supervise.model import Cluster, Forward, Problem
from kpf_supervise.origin import Origin
from kpf_supervise.primitives.boundary import unbroken
from kpf_supervise.sources.each import EachSource
from kpf_supervise.sources.services import ServiceSource
from kpf_supervise.watching.watches import Watches


class Sources:
    """`put` makes the forwards of an origin exactly these."""

    def __init__(self, watches: Watches, board: Board, put: Callable[[Origin, list[Forward]], Awaitable[None]]) -> None:
        self._board = board
        self._each = EachSource(watches, board, partial(put, Origin.EACH))
        self._services = ServiceSource(watches, board, partial(put, Origin.SERVICES))
        self._all = {Origin.EACH: self._each, Origin.SERVICES: self._services}

    def want(self, each: Iterable[Forward], services: Iterable[ServiceGroup]) -> None:
        """What the file declares, from now on."""
        self._each.want(each)
        self._services.want(services)

    @property
    def clusters(self) -> set[Cluster]:
        """Those that they read."""
        return self._each.clusters | self._services.clusters

    async def run(self) -> None:
        """Follow until cancelled. A bug in one source ends no other."""
        async with trio.open_nursery() as nursery:
            for origin, source in self._all.items():
                nursery.start_soon(unbroken, source.run, self._board.failing(f"listing what {origin} declares"))

    async def until_known(self, timeout: float, keep_waiting: bool) -> Mapping[str, Problem | None]:
        """What they still do not know after `timeout` seconds, or at once if that does not go away by itself."""
        begun, missing = trio.current_time(), dict[str, Problem | None]()
        for source in self._all.values():
            left = max(timeout - (trio.current_time() - begun), 0.0)
            missing |= await source.until_known(left, keep_waiting)
        return missing
