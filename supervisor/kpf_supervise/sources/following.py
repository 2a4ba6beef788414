"""What all sources have in common: they list forwards, and keep the list as the cluster has it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import trio

from kpf_supervise.events.board import Board
from kpf_supervise.model import FINAL, Cluster, Forward, Problem
from kpf_supervise.primitives.backoff import delay
from kpf_supervise.primitives.signal import Signal

_SETTLE = 0.05  # seconds for which further changes are waited for: they come in bursts
_AGAIN = (5.0, 60.0)  # seconds: the first and the longest pause until what failed is tried again
_NAMED = 5  # names in one sentence

Put = Callable[[list[Forward]], Awaitable[None]]


class Following(ABC):
    """`put` lists exactly these forwards, and returns when their local ports are bound or have failed to bind."""

    def __init__(self, board: Board, put: Put) -> None:
        self.told = Signal()  # whenever `missing` may have changed
        self.failures = 0  # consecutive updates after which something is to be tried again
        self._board = board
        self._put = put
        self._changed = Signal()
        self._stale = True  # something has changed since the last update
        self._ids: dict[str, set[str]] = {}  # what is listed, by the name of what it was listed for

    @property
    @abstractmethod
    def clusters(self) -> Collection[Cluster]:
        """Those that it reads."""

    @property
    @abstractmethod
    def missing(self) -> Mapping[str, Problem | None]:
        """What it does not know yet, with the reason as far as that is known."""

    @abstractmethod
    async def update(self) -> bool:
        """List what is there now. False: something failed, and is to be tried again without anything having changed."""

    def tell(self, _: object = None) -> None:
        """Something has changed."""
        self._stale = True
        self._changed.tell()

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            with trio.move_on_after(delay(*_AGAIN, self.failures - 1) if self.failures else math.inf):
                while not self._stale:
                    await self._changed.wait()
                await trio.sleep(_SETTLE)
            self._stale = False
            try:
                self.failures = 0 if await self.update() else self.failures + 1
            except BaseException:
                self._stale = True
                raise
            self.told.tell()

    async def until_known(self, timeout: float, keep_waiting: bool) -> Mapping[str, Problem | None]:
        """Wait until nothing is missing; returns what is after `timeout` seconds. If a reason does not go away by
        itself, returns at once, unless `keep_waiting` is set."""
        with trio.move_on_after(timeout):
            while missing := self.missing:
                if not keep_waiting and any(each is not None and each.cause in FINAL for each in missing.values()):
                    break
                await self.told.wait()
        return self.missing

    @property
    def names(self) -> Collection[str]:
        """For which `tell_change` has told something."""
        return self._ids.keys()

    def tell_change(self, listed: Mapping[str, set[str]], first: Mapping[str, str]) -> None:
        """Tell what came and went of each name, or for a new one its sentence of `first`."""
        before, self._ids = self._ids, dict(listed)
        for name, ids in listed.items():
            if name not in before:
                self._board.notice(first[name])
            elif ids != before[name]:
                come, gone = sorted(ids - before[name]), sorted(before[name] - ids)
                words = [f"{some(each)} {what}" for each, what in ((come, "came"), (gone, "went")) if each]
                self._board.notice(f"{name}: {'; '.join(words)}")


def some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
