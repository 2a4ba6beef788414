"""A time limit that stands still while somebody signs in."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from kpf_supervise.sign_in.limit import Limits


async def test_it_runs_anew_when_the_sign_in_has_ended(autojump_clock: MockClock) -> None:
    limits = Limits()
    async with trio.open_nursery() as nursery:

        async def sign_in() -> None:
            await trio.sleep(10)
            limits.hold(True)
            await trio.sleep(600)
            limits.hold(False)

        nursery.start_soon(sign_in)
        with limits.limit(15) as limit:
            await trio.sleep_forever()
    assert (limit.scope.cancelled_caught, trio.current_time()) == (True, 625)


async def test_one_that_begins_meanwhile_waits_and_one_that_was_lifted_stays_so(autojump_clock: MockClock) -> None:
    limits = Limits()
    limits.hold(True)
    with limits.limit(5) as limit:
        await trio.sleep(10)
        limit.lift()
        limits.hold(False)
        await trio.sleep(10)
    assert not limit.scope.cancelled_caught


async def test_it_may_begin_anew(autojump_clock: MockClock) -> None:
    with Limits().limit(5) as limit:
        for _ in range(3):
            await trio.sleep(4)
            limit.restart()
        await trio.sleep_forever()
    assert trio.current_time() == 17
