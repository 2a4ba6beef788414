"""One question for all that wait, seldom where somebody has to log in: on a clock of its own."""

from __future__ import annotations

import trio
import trio.testing

from supervisor.model import Cause, Problem
from supervisor.outage import Outage

DOWN = Problem(Cause.API_UNREACHABLE, "it is down", "Check it")
SLOW = Problem(Cause.TOO_SLOW, "it is slow")
EXPIRED = Problem(Cause.UNAUTHORIZED, "the login has expired", "Log in")


async def asked_in(seconds: float, problem: Problem) -> tuple[int, list[str]]:
    """How many questions three watches ask within that time, and what is told meanwhile."""
    notices: list[str] = []
    outage = Outage("dev", notices.append)
    asked = 0

    async def watch() -> None:
        nonlocal asked
        while True:
            asked += 1
            await outage.pause(problem)

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(watch)
    return asked, notices


async def test_an_outage_is_asked_about_every_few_seconds(autojump_clock: trio.testing.MockClock) -> None:
    asked, notices = await asked_in(600, DOWN)
    assert 200 <= asked <= 280
    assert notices == ["dev: it is down. It is asked again and again. Check it"]


async def test_a_login_twice_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    """A credential plugin may open a browser each time."""
    asked, notices = await asked_in(600, EXPIRED)
    assert 20 <= asked <= 35
    assert len(notices) == 1


async def test_each_kind_is_told_once(autojump_clock: trio.testing.MockClock) -> None:
    notices: list[str] = []
    outage = Outage("dev", notices.append)
    for problem in (DOWN, SLOW, DOWN, EXPIRED, DOWN, EXPIRED):
        await outage.pause(problem)
    outage.over()
    await outage.pause(DOWN)
    assert [text.split(".")[0] for text in notices] == [
        "dev: it is down",
        "dev: the login has expired",
        "dev: the API server answers again",
        "dev: it is down",
    ]
