"""A request that hangs is made again beside it."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from kpf_supervise.model import Cause, ForwardError, Problem
from kpf_supervise.primitives.hedge import hedged


async def test_the_first_that_returns_ends_all(autojump_clock: trio.testing.MockClock) -> None:
    begun: list[float] = []
    ended: list[float] = []

    async def ask() -> None:
        begun.append(trio.current_time() - start)
        try:
            await trio.sleep(10 if len(begun) < 3 else 1)
        finally:
            ended.append(trio.current_time() - start)

    start = trio.current_time()
    await hedged(ask, 2)
    assert begun == [0, 2, 4]
    assert ended == [5, 5, 5]


async def test_the_first_that_fails_tells_why(autojump_clock: trio.testing.MockClock) -> None:
    async def ask() -> None:
        await trio.sleep(3)
        raise ForwardError(Problem(Cause.OTHER, "no"))

    start = trio.current_time()
    with pytest.raises(ForwardError, match="no"):
        await hedged(ask, 2)
    assert trio.current_time() - start == 3
