"""One question for all that wait, seldom where somebody has to log in: on a clock of its own."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from kpf_supervise.model import Cause, ForwardError, Problem
from kpf_supervise.watching.outage import Outage

DOWN = Problem(Cause.API_UNREACHABLE, "it is down", "Check it")
SLOW = Problem(Cause.TOO_SLOW, "it is slow")
EXPIRED = Problem(Cause.UNAUTHORIZED, "the login has expired", "Log in")
FORBIDDEN = Problem(Cause.FORBIDDEN, "you may not")


class Server:
    """Answers with the first of `problems` that is left, then well."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = list(problems)
        self.notices: list[str] = []
        self.asked = 0
        self.outage = Outage("dev", self.ask, self.notices.append)

    async def ask(self) -> None:
        self.asked += 1
        await trio.lowlevel.checkpoint()
        if self.problems:
            problem = self.problems[0]
            if len(self.problems) > 1:
                self.problems.pop(0)
            raise ForwardError(problem)

    @property
    def told(self) -> list[str]:
        return [text.partition(". ")[0] for text in self.notices]


async def asked_in(seconds: float, problem: Problem) -> Server:
    """What is asked and told within that time where three watches wait."""
    server = Server(problem)
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(server.outage.over, problem)
    return server


async def test_an_outage_is_asked_about_every_few_seconds(autojump_clock: trio.testing.MockClock) -> None:
    server = await asked_in(600, DOWN)
    assert 200 <= server.asked <= 280
    assert server.notices == ["dev: it is down. It is retried until it answers. Check it"]


async def test_a_login_twice_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    """A credential plugin may open a browser each time."""
    server = await asked_in(600, EXPIRED)
    assert 20 <= server.asked <= 35
    assert len(server.notices) == 1


async def test_each_kind_is_told_once(autojump_clock: trio.testing.MockClock) -> None:
    server = Server(DOWN, SLOW, DOWN, EXPIRED, DOWN, EXPIRED)

    async def fix() -> None:
        await trio.sleep(120)
        server.problems.clear()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fix)
        assert await server.outage.over(DOWN)
    assert server.told == ["dev: it is down", "dev: the login has expired", "dev: the API server answers again"]


@pytest.mark.parametrize("problem", [SLOW, DOWN], ids=lambda problem: problem.message)
async def test_a_question_that_fails_alone_is_no_outage(
    problem: Problem, autojump_clock: trio.testing.MockClock
) -> None:
    server = Server()
    begun = trio.current_time()
    assert not await server.outage.over(problem)
    assert (trio.current_time(), server.asked, server.notices) == (begun, 1, [])


async def test_even_a_refusal_is_an_answer(autojump_clock: trio.testing.MockClock) -> None:
    assert not await Server(FORBIDDEN).outage.over(DOWN)


async def test_whoever_is_answered_first_tells_all(autojump_clock: trio.testing.MockClock) -> None:
    server = Server(DOWN)
    ended = []

    async def wait() -> None:
        ended.append(await server.outage.over(DOWN))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.sleep(30)
        assert ended == []
        asked = server.asked
        server.outage.answered()  # another watch was
    assert (ended, server.asked) == ([True, True], asked)
