"""One watch, on a clock of its own: no kubectl is run, the answers are made up."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import pytest
import trio
import trio.testing

from kpf_supervise.api.line import SILENT, Line
from kpf_supervise.api.server import ApiServer, Interrupted
from kpf_supervise.kubectl.process import TIMEOUT
from kpf_supervise.model import Cause, Cluster, ForwardError, Problem
from kpf_supervise.sign_in.login import Login
from kpf_supervise.watching import watch as module
from kpf_supervise.watching.outage import Outage
from kpf_supervise.watching.pods import PODS, Pod
from kpf_supervise.watching.questions import Questions
from kpf_supervise.watching.watch import DIED, Watch

FORBIDDEN = Problem(Cause.FORBIDDEN, "you (me) may not watch pods in namespace dev", "Ask for it")
EMPTY = json.dumps({"metadata": {"resourceVersion": "7"}, "items": []}).encode()


class Api(ApiServer):
    """Takes the place of an API server: one answer to each page of a listing, or a Problem; its streams say nothing,
    and end as `ends` says, one after the other, then never."""

    def __init__(self, *ends: ForwardError | None, **by_page: bytes | Problem) -> None:
        self.by_page = by_page
        self.ends = list(ends)
        self.asked: list[str] = []
        self.streams = 0
        self.anew: list[bool] = []
        self.line = Line(trio.lowlevel.checkpoint)
        self.login = Login(Cluster())

    async def read(self, path: str, posted: bytes = b"") -> bytes:
        await trio.lowlevel.checkpoint()
        page = path.partition("continue=")[2] or ("first" if "limit=" in path else "whole")
        self.asked.append(page)
        answer = self.by_page[page]
        if isinstance(answer, Problem):
            raise ForwardError(answer)
        return answer

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        self.streams += 1
        async with aclosing(self._silence()) as lines:
            yield lines

    async def _silence(self) -> AsyncGenerator[bytes, None]:
        await trio.lowlevel.checkpoint()
        if not self.ends:
            await trio.sleep_forever()
        if (end := self.ends.pop(0)) is not None:
            raise end
        if self.ends:
            yield b""

    def begin_anew(self, died: bool = False) -> None:
        self.anew.append(died)
        self.line.lost(SILENT)
        self.line.back()


def watch_of(api: Api, notices: list[str], outage: Outage | None = None) -> Watch[Pod]:
    here = outage or Outage("here", trio.lowlevel.checkpoint, notices.append)
    return Watch(PODS, Questions(api, Cluster(), "dev"), notices.append, here)


async def test_what_was_forbidden_is_asked_for_seldom(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, str]] = []
    notices: list[str] = []
    allowed = False

    async def read(path: str) -> bytes:
        asked.append((trio.current_time() - begun, path.partition("?")[2]))
        if "watch=1" in path and not allowed:
            raise ForwardError(FORBIDDEN)
        return EMPTY

    async def stream() -> None:
        if not allowed:
            raise ForwardError(FORBIDDEN)
        await trio.sleep_forever()

    api = Api()
    monkeypatch.setattr(api, "read", read)
    watch = watch_of(api, notices)
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


async def test_a_long_listing_is_read_in_pages() -> None:
    api = Api(first=listing("a", follows="t/1"), **{"t%2F1": listing("b", follows="t2"), "t2": listing("c")})
    watch = watch_of(api, [])
    await watch.refresh()
    assert api.asked == ["first", "t%2F1", "t2"]
    assert [pod.name for pod in watch.items] == ["a", "b", "c"]


async def test_pages_that_have_expired_are_listed_in_one_piece() -> None:
    expired = Problem(Cause.OTHER, "the API server said: The provided continue parameter is too old")
    api = Api(first=listing("a", follows="t"), t=expired, whole=listing("b", "c", follows="more"))
    watch = watch_of(api, [])
    await watch.refresh()
    assert api.asked == ["first", "t", "whole"]
    assert [pod.name for pod in watch.items] == ["b", "c"]


SLOW = Problem(Cause.TOO_SLOW, "the API server gave kubectl no answer in 15 s")


async def test_a_listing_that_fails_for_ever_is_told_once_and_holds_up_no_other_namespace(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices: list[str] = []
    outage = Outage("here", trio.lowlevel.checkpoint, notices.append)
    api = Api()
    slow, other = watch_of(api, notices, outage), watch_of(Api(first=listing("a")), notices, outage)
    asked = 0

    async def read(path: str) -> bytes:
        nonlocal asked
        asked += 1
        await trio.sleep(TIMEOUT)
        raise ForwardError(SLOW)

    monkeypatch.setattr(api, "read", read)
    monkeypatch.setattr(other, "_stream", trio.sleep_forever)
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
    first: str, autojump_clock: trio.testing.MockClock
) -> None:
    up = False

    async def ask() -> None:
        await trio.lowlevel.checkpoint()
        if not up:
            raise ForwardError(DOWN)

    outage = Outage("here", ask, lambda _: None)
    closed_api, other_api = Api(first=DOWN), Api(first=DOWN)
    closed, other = watch_of(closed_api, [], outage), watch_of(other_api, [], outage)
    async with trio.open_nursery() as nursery:
        for watch in (closed, other) if first == "closed" else (other, closed):
            nursery.start_soon(watch.run)
            await trio.testing.wait_all_tasks_blocked()
        assert (closed.problem, other.problem) == (DOWN, DOWN)
        up, closed_api.by_page, other_api.by_page = True, {"first": FORBIDDEN}, {"first": listing("a")}
        await trio.sleep(10)
        assert (other.listed, closed.denied) == (1, True)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("ask", [Watch.check, lambda watch: watch.suspect("its keeper was killed")])
async def test_a_question_between_two_streams_is_not_lost(
    ask: Callable[[Watch[Pod]], None], autojump_clock: trio.testing.MockClock
) -> None:
    """The one that it would have to end is over, the next one has not begun."""
    api = Api(None, first=listing("a"))
    watch = watch_of(api, [])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(module._BRIEF / 2)
        assert (watch.listed, api.streams) == (1, 1)
        ask(watch)
        await trio.sleep(module._BRIEF)
        assert watch.listed == 2
        await trio.sleep(60)
        assert watch.listed == 2
        nursery.cancel_scope.cancel()


async def test_a_stream_that_breaks_off_is_followed_by_a_listing(autojump_clock: trio.testing.MockClock) -> None:
    api = Api(Interrupted(), first=listing("a"))
    watch = watch_of(api, [])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(10)
        assert (watch.listed, watch.renewed) == (2, 0)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("forbidden", [False, True])
async def test_while_the_line_is_dead_tunnels_may_be_dead_and_they_are_replaced_once_it_is_back(
    forbidden: bool, autojump_clock: trio.testing.MockClock
) -> None:
    api = Api(first=FORBIDDEN if forbidden else listing("a"))
    watch = watch_of(api, [])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(1)
        assert (watch.cut_off, watch.denied, watch.renewed) == (False, forbidden, 0)
        if not forbidden:
            api.by_page["first"] = Problem(Cause.API_UNREACHABLE, "it does not answer")
        api.line.lost(SILENT)
        await trio.sleep(60)
        assert (watch.cut_off, watch.renewed) == (True, 0)
        assert watch.problem is not None
        if not forbidden:
            api.by_page["first"] = listing("a")
        api.line.back()
        await trio.testing.wait_all_tasks_blocked()
        assert (watch.cut_off, watch.renewed, watch.why) == (False, 1, DIED)
        nursery.cancel_scope.cancel()


async def test_once_the_api_server_refuses_its_line_is_not_dead(autojump_clock: trio.testing.MockClock) -> None:
    api = Api(first=listing("a"))
    watch = watch_of(api, [])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(1)
        api.by_page["first"] = Problem(Cause.UNAUTHORIZED, "it does not accept your credentials")
        api.line.lost(SILENT)
        api.line.back()
        await trio.testing.wait_all_tasks_blocked()
        assert (watch.cut_off, watch.renewed) == (False, 0)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("signing_in", "anew", "renewed"),
    [("", [True], 1), ("signing in with login since 21:04:30", [], 0)],
    ids=["nobody signs in", "somebody signs in"],
)
async def test_a_silence_that_the_server_does_not_keep_is_the_end_of_its_connection(
    signing_in: str,
    anew: list[bool],
    renewed: int,
    autojump_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While somebody signs in, it says nothing of the connection."""
    monkeypatch.setattr(Login, "signing_in", signing_in)
    api = Api(first=listing("a"))
    watch = watch_of(api, [])
    watch._pulse.seen = True  # it sends bookmarks
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(module._BOOKMARK * 1.5 + 3)
        assert (api.anew, watch.listed, watch.renewed) == (anew, 2, renewed)
        nursery.cancel_scope.cancel()
