"""Keeps a bug from ending more than the part of the program in which it occurs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from kpf_supervise.primitives.backoff import delay

_AGAIN = (1.0, 60.0)  # seconds: the first and the longest pause before a failed part is restarted
_WELL = 60.0  # seconds after which a part counts as healthy again


async def unbroken(run: Callable[[], Awaitable[object]], failed: Callable[[BaseException, float], None]) -> None:
    """Run `run` to its end, and call it again if it raises. `run` handles all expected exceptions itself; any other is
    a bug. `failed` gets the exception and the seconds until `run` is called again. Cancellation passes through."""
    failures = 0
    while True:
        begun, pause = trio.current_time(), -1.0
        try:
            await run()
        except* Exception as group:
            failures = failures + 1 if trio.current_time() - begun < _WELL else 1
            pause = delay(*_AGAIN, failures - 1)
            failed(bare(group), pause)
        if pause < 0:
            return
        await trio.sleep(pause)


def bare(error: BaseException) -> BaseException:
    """Unwrap exception groups (nurseries make them) that contain a single exception."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
