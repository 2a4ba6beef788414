"""Repeats a request that may hang, and takes what comes first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from kpf_supervise.model import ForwardError


async def hedged(ask: Callable[[], Awaitable[object]], every: float) -> None:
    """Call `ask` now and again every so many seconds, beside those calls that have not ended. Returns when the first of
    them does; the others are cancelled. Raises its ForwardError if it fails."""
    failure: ForwardError | None = None

    async def attempt() -> None:
        nonlocal failure
        try:
            await ask()
        except ForwardError as trouble:
            failure = trouble
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        while True:
            nursery.start_soon(attempt)
            await trio.sleep(every)
    if failure is not None:
        raise failure
