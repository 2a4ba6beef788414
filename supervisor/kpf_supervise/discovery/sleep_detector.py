"""Notices that the machine has slept: the wall clock has gone on, the monotonic one has not (or not everywhere)."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

_LOOK = 5.0  # seconds between two looks: no event tells of it on both Linux and macOS
_JUMP = 10.0  # seconds of difference that count; a clock that is set may do as much, and then a check is all it costs


async def on_wake(woken: Callable[[float], None]) -> None:
    """Call `woken` with the seconds that were slept, within _LOOK seconds of the awakening. Until cancelled."""
    ahead = time.time() - time.monotonic()
    while True:
        await trio.sleep(_LOOK)
        now = time.time() - time.monotonic()
        if now - ahead > _JUMP:
            woken(now - ahead)
        ahead = now
