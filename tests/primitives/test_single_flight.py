"""One question for all who want the same: who shares an answer, and who asks anew."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from kpf_supervise.model import Cause, ForwardError, Problem
from kpf_supervise.primitives.single_flight import SingleFlight


class Asked:
    """Counts the questions; each is answered by its number when `answer` is set, or is in trouble."""

    def __init__(self) -> None:
        self.count = 0
        self.answer = trio.Event()
        self.problem: Problem | None = None

    async def __call__(self) -> int:
        self.count += 1
        number = self.count
        await self.answer.wait()
        if self.problem is not None:
            raise ForwardError(self.problem)
        return number


async def test_all_who_ask_meanwhile_share_one_answer_and_later_ones_ask_anew() -> None:
    shared: SingleFlight[str, int] = SingleFlight()
    asked, other, got = Asked(), Asked(), []

    async def want(key: str, ask: Asked) -> None:
        got.append((key, await shared.ask(key, ask)))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(want, "a", asked)
        nursery.start_soon(want, "b", other)
        await trio.testing.wait_all_tasks_blocked()
        assert (asked.count, other.count) == (1, 1)
        asked.answer.set()
        other.answer.set()
    assert sorted(got) == [("a", 1)] * 3 + [("b", 1)]
    assert await shared.ask("a", asked) == 2


async def test_trouble_is_shared_and_forgotten() -> None:
    shared: SingleFlight[str, int] = SingleFlight()
    asked, told = Asked(), []
    asked.problem = Problem(Cause.KUBECTL, "no kubectl")

    async def want() -> None:
        with pytest.raises(ForwardError) as caught:
            await shared.ask("a", asked)
        told.append(caught.value.problem)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(want)
        await trio.testing.wait_all_tasks_blocked()
        asked.answer.set()
    assert (told, asked.count) == ([asked.problem] * 3, 1)
    asked.problem = None
    assert await shared.ask("a", asked) == 2


async def test_where_the_asker_is_cancelled_one_of_the_others_asks() -> None:
    shared: SingleFlight[str, int] = SingleFlight()
    asked, got, asker = Asked(), [], trio.CancelScope()

    async def want(scope: trio.CancelScope) -> None:
        with scope:
            got.append(await shared.ask("a", asked))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(want, asker)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(2):
            nursery.start_soon(want, trio.CancelScope())
        await trio.testing.wait_all_tasks_blocked()
        asker.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert asked.count == 2
        asked.answer.set()
    assert got == [2, 2]
