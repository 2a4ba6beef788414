"""One watch, on a clock of its own: no kubectl is run, the answers are made up."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from kpf_supervise.discovery import questions
from kpf_supervise.discovery import watch as module
from kpf_supervise.discovery.outage import Outage
from kpf_supervise.discovery.watch import Watch
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.kubectl.process import TIMEOUT
from kpf_supervise.model import Cause, Cluster, ForwardError, Problem

FORBIDDEN = Problem(Cause.FORBIDDEN, "you (me) may not watch pods in namespace dev", "Ask for it")
PODS = json.dumps({"metadata": {"resourceVersion": "7"}, "items": []}).encode()


def watch_of(notices: list[str], outage: Outage | None = None) -> Watch:
    here = outage or Outage("here", trio.lowlevel.checkpoint, notices.append)
    return Watch(questions.Questions("kubectl", Cluster(), "dev", OrphanGuard(0)), notices.append, here)


async def test_what_was_forbidden_is_asked_for_seldom(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, str]] = []
    notices: list[str] = []
    allowed = False

    async def output(words: Sequence[str], *_: object) -> bytes:
        asked.append((trio.current_time() - begun, words[-1].partition("?")[2]))
        if "watch=1" in words[-1] and not allowed:
            raise ForwardError(FORBIDDEN)
        return PODS

    async def stream() -> None:
        if not allowed:
            raise ForwardError(FORBIDDEN)
        await trio.sleep_forever()

    monkeypatch.setattr(questions, "output", output)
    watch = watch_of(notices)
    monkeypatch.setattr(watch, "_stream", stream)
    begun = trio.current_time()
    page, probe = "limit=500", "watch=1&timeoutSeconds=1&resourceVersion=7"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(700)
        assert asked == [(0, page), (300, page), (300, probe), (600, page), (600, probe)]
        assert watch.denied
        watch.ask_again()
        await trio.testing.wait_all_tasks_blocked()
        assert asked[5:] == [(700, page), (700, probe)]
        assert len(notices) == 1
        allowed = True
        await trio.sleep(301)
        assert asked[7:] == [(1000, page), (1000, probe), (1000, page)]
        assert not watch.denied
        assert notices[1:] == ["pods in namespace dev are followed from now on: that is allowed now"]
        nursery.cancel_scope.cancel()


def listing(*names: str, follows: str = "") -> bytes:
    meta = {"resourceVersion": "7", **({"continue": follows} if follows else {})}
    pods = [{"metadata": {"name": name, "uid": name}} for name in names]
    return json.dumps({"metadata": meta, "items": pods}).encode()


class Answers:
    """Takes the place of a kubectl that asks: one answer to each page, or a ForwardError."""

    def __init__(self, **by_page: bytes | Problem) -> None:
        self.by_page = by_page
        self.asked: list[str] = []

    async def __call__(self, words: Sequence[str], *_: object) -> bytes:
        await trio.lowlevel.checkpoint()
        page = words[-1].partition("continue=")[2] or ("first" if "limit=" in words[-1] else "whole")
        self.asked.append(page)
        answer = self.by_page[page]
        if isinstance(answer, Problem):
            raise ForwardError(answer)
        return answer


async def test_a_long_listing_is_read_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Answers(first=listing("a", follows="t/1"), **{"t%2F1": listing("b", follows="t2"), "t2": listing("c")})
    monkeypatch.setattr(questions, "output", answers)
    watch = watch_of([])
    await watch.refresh()
    assert answers.asked == ["first", "t%2F1", "t2"]
    assert [pod.name for pod in watch.pods] == ["a", "b", "c"]


async def test_pages_that_have_expired_are_listed_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    expired = Problem(
        Cause.OTHER, "kubectl said: Error from server (Expired): The provided continue parameter is too old"
    )
    answers = Answers(first=listing("a", follows="t"), t=expired, whole=listing("b", "c", follows="more"))
    monkeypatch.setattr(questions, "output", answers)
    watch = watch_of([])
    await watch.refresh()
    assert answers.asked == ["first", "t", "whole"]
    assert [pod.name for pod in watch.pods] == ["b", "c"]


SLOW = Problem(Cause.TOO_SLOW, "the API server gave kubectl no answer in 15 s")


async def test_a_listing_that_fails_for_ever_is_told_once_and_holds_up_no_other_namespace(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices: list[str] = []
    outage = Outage("here", trio.lowlevel.checkpoint, notices.append)
    slow, other = watch_of(notices, outage), watch_of(notices, outage)
    asked = 0

    async def output(*_: object) -> bytes:
        nonlocal asked
        asked += 1
        await trio.sleep(TIMEOUT)
        raise ForwardError(SLOW)

    monkeypatch.setattr(slow.questions, "read", output)
    monkeypatch.setattr(other, "_stream", trio.sleep_forever)
    monkeypatch.setattr(questions, "output", Answers(first=listing("a")))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(slow.run)
        nursery.start_soon(other.run)
        await trio.sleep(600)
        nursery.cancel_scope.cancel()
    assert (other.listed, slow.listed, slow.problem) == (1, 0, SLOW)
    assert [text.partition(":")[0] for text in notices] == [
        "pods in namespace dev can't be listed, though the API server answers"
    ]
    assert 12 <= asked <= 30


DOWN = Problem(Cause.API_UNREACHABLE, "it is down", "Check it")


@pytest.mark.parametrize("first", ["closed", "other"])
async def test_one_that_is_forbidden_after_an_outage_holds_up_no_other_namespace(
    first: str, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = False

    async def ask() -> None:
        await trio.lowlevel.checkpoint()
        if not up:
            raise ForwardError(DOWN)

    async def refuse(_: str) -> bytes:
        await ask()
        raise ForwardError(FORBIDDEN)

    async def answer(_: str) -> bytes:
        await ask()
        return listing("a")

    outage = Outage("here", ask, lambda _: None)
    closed, other = watch_of([], outage), watch_of([], outage)
    monkeypatch.setattr(closed.questions, "read", refuse)
    monkeypatch.setattr(other.questions, "read", answer)
    monkeypatch.setattr(other, "_stream", trio.sleep_forever)
    async with trio.open_nursery() as nursery:
        for watch in (closed, other) if first == "closed" else (other, closed):
            nursery.start_soon(watch.run)
            await trio.testing.wait_all_tasks_blocked()
        assert (closed.problem, other.problem) == (DOWN, DOWN)
        up = True
        await trio.sleep(10)
        assert (other.listed, closed.denied) == (1, True)
        nursery.cancel_scope.cancel()


class Stream:
    """Takes the place of a kubectl that watches, and says nothing: the first ends at once, as one does whose server
    ends it, the others go on."""

    stdout = stderr = None

    def __init__(self) -> None:
        self.begun = 0

    @asynccontextmanager
    async def __call__(self, *_: object) -> AsyncIterator[Stream]:
        self.begun += 1
        self.stdout = self.stderr = self
        yield self

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        if self.begun > 1:
            await trio.sleep_forever()
        raise StopAsyncIteration

    async def wait(self) -> int:
        if self.begun > 1:
            await trio.sleep_forever()
        return 0


@pytest.mark.parametrize("ask", [Watch.check, Watch.suspect])
async def test_a_question_between_two_streams_is_not_lost(
    ask: Callable[[Watch], None], autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that it would have to end is over, the next one has not begun."""
    monkeypatch.setattr(questions, "output", Answers(first=listing("a")))
    monkeypatch.setattr(questions, "running", stream := Stream())
    watch = watch_of([])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(module._BRIEF / 2)
        assert (watch.listed, stream.begun) == (1, 1)
        ask(watch)
        await trio.sleep(module._BRIEF)
        assert watch.listed == 2
        await trio.sleep(60)
        assert watch.listed == 2
        nursery.cancel_scope.cancel()
