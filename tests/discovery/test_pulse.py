"""When silence means that connections have died: a watch without its bookmarks, a machine that has slept."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from kpf_supervise.watching import sleep_detector
from kpf_supervise.watching.watch import Pulse


def test_a_real_server_may_be_silent_for_one_and_a_half_of_its_minutes() -> None:
    pulse = Pulse()
    assert pulse.limit == 92
    for time in (10, 70, 130):
        pulse.marked(time)
    assert pulse.limit == 92


def test_the_servers_own_interval_is_learned_from_three_bookmarks_of_one_stream() -> None:
    pulse = Pulse()
    pulse.marked(0)
    pulse.marked(1)  # the last of a stream comes early
    pulse.begun()
    pulse.marked(2)
    assert pulse.limit == 92
    pulse.marked(32)
    pulse.marked(60)
    assert pulse.limit == 47  # 1.5 × 30 + 2


def test_one_that_sends_no_bookmarks_is_asked_less_and_less_often() -> None:
    pulse = Pulse()
    pulse.silent()
    pulse.silent()
    assert (pulse.limit, pulse.seen) == (92 * 4, False)
    pulse.marked(0)
    pulse.silent()
    assert (pulse.limit, pulse.seen) == (92 * 4, True)


async def test_a_sleep_is_noticed_within_seconds_and_told_once(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    wall = 1_700_000_000.0
    monkeypatch.setattr("time.time", lambda: wall)
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleep_detector.on_wake, slept.append)
        await trio.sleep(12)
        wall += 3  # a clock that was set a little
        await trio.sleep(12)
        assert slept == []
        wall += 3600
        await trio.sleep(5)
        assert slept == [3600]
        wall -= 100
        await trio.sleep(12)
        assert slept == [3600]
        nursery.cancel_scope.cancel()
