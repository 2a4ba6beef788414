"""Detects that the machine has slept: the wall clock continued, and the monotonic clock (on some systems) did not."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

_LOOK = 5.0  # seconds between two checks: Linux and macOS have no common event for it
_JUMP = 10.0  # seconds of difference that count as sleep; a clock that was set may jump too, which only costs a check


async def on_wake(woken: Callable[[float], None]) -> None:
    """Call `woken` with the seconds slept, within _LOOK seconds of waking up. Runs until cancelled."""
    ahead = time.time() - time.monotonic()
    while True:
        await trio.sleep(_LOOK)
        now = time.time() - time.monotonic()
        if now - ahead > _JUMP:
            woken(now - ahead)
        ahead = now
