"""An API server that does not answer: told once, and asked again by one of all that wait for it."""

from __future__ import annotations

from collections.abc import Callable

import trio

from .backoff import delay
from .model import LOGIN, OUTAGE, Cause, Problem

_RETRY = (0.5, 3.0)  # seconds: the first and the longest pause after a failure; forwards wait for this
_LOGIN = (0.5, 30.0)  # the same where somebody has to log in


class Outage:
    """Shared by all watches of one cluster; `label` names that."""

    def __init__(self, label: str, notice: Callable[[str], None]) -> None:
        self._label = label
        self._notice = notice
        self._failures = 0
        self._told: set[Cause | None] = set()
        self._asking = False
        self._over = trio.Event()
        self._hurry = trio.Event()

    async def pause(self, problem: Problem) -> None:
        """After a failure: returns when it is this one's turn to ask again, or when another one was answered."""
        if self._failures == 0:
            self._over = trio.Event()
            self._told = set()
        kind = None if problem.cause in OUTAGE else problem.cause  # the network is back, say, but the login has expired
        if kind not in self._told:
            self._told.add(kind)
            self._notice(f"{self._label}: {problem.message}. It is asked again and again. {problem.next_step}".rstrip())
        if self._asking:
            return await self._over.wait()
        self._asking = True
        try:
            self._failures += 1
            self._hurry = trio.Event()
            with trio.move_on_after(delay(*(_LOGIN if problem.cause in LOGIN else _RETRY), self._failures - 1)):
                await self._hurry.wait()
        finally:
            self._asking = False

    def ask_again(self) -> None:
        """End the pause: perhaps the user has mended it."""
        self._hurry.set()

    def over(self) -> None:
        """It has answered somebody."""
        if self._failures:
            self._failures = 0
            self._notice(f"{self._label}: the API server answers again")
        self._over.set()
