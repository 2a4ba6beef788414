"""Who may start a kubectl, and in which order."""

from __future__ import annotations

import trio
import trio.testing

from kpf_supervise.primitives.priority_limiter import PriorityLimiter


async def test_the_lowest_rank_of_the_moment_comes_first_then_who_came_first() -> None:
    turns, order = PriorityLimiter(1), []
    ranks = {"a": 1, "b": 1, "c": 2, "d": 1}

    async def wait(name: str) -> None:
        await turns.take(lambda: ranks[name])
        order.append(name)
        turns.release()

    await turns.take(lambda: 0)
    async with trio.open_nursery() as nursery:
        for name in ranks:
            nursery.start_soon(wait, name)
            await trio.testing.wait_all_tasks_blocked()
        ranks["d"] = 0  # a client waits for it by now
        turns.release()
    assert order == ["d", "a", "b", "c"]


async def test_who_gives_up_takes_no_turn() -> None:
    turns = PriorityLimiter(1)
    await turns.take(lambda: 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.take, lambda: 0)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    turns.release()
    with trio.fail_after(1):
        await turns.take(lambda: 0)


async def test_a_turn_that_comes_to_who_has_just_given_up_is_passed_on() -> None:
    """It was cancelled, and has not run since: the turn becomes free in that moment."""
    turns = PriorityLimiter(1)
    await turns.take(lambda: 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.take, lambda: 0)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        turns.release()
    with trio.fail_after(1):
        await turns.take(lambda: 0)
