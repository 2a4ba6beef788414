"""Keeps a bug where it is: each part of the program that can fail alone runs behind one of these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from kpf_supervise.primitives.backoff import delay

_AGAIN = (1.0, 60.0)  # seconds: the first and the longest pause before a part that failed is begun anew
_WELL = 60.0  # seconds after which a part counts as well again


async def unbroken(run: Callable[[], Awaitable[object]], failed: Callable[[BaseException, float], None]) -> None:
    """Run `run` to its end. An exception that comes out of it is a bug, since those that can be foreseen are handled
    inside: `failed` is told it, and the seconds until `run` is called anew. A cancellation passes through."""
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
    """The exception itself where a group, as nurseries make them, has only that one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
