"""Who needs a credential waits for one sign-in, and when a failed one is begun again. With a clock that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from kpf_supervise.model import ForwardError
from kpf_supervise.sign_in.credential import Credential
from kpf_supervise.sign_in.flight import SignIn
from kpf_supervise.sign_in.plugin import PluginFailed
from kpf_supervise.sign_in.share import Share


class Plugin:
    """It takes so many seconds, and gives a token for `lifetime` seconds, or fails."""

    def __init__(self, takes: float = 1.0, lifetime: float = 900.0, fails: str = "") -> None:
        self.takes, self.lifetime, self.fails = takes, lifetime, fails
        self.wants_terminal = False
        self.runs = 0

    async def run(self) -> Credential:
        self.runs += 1
        await trio.sleep(self.takes)
        if self.fails:
            raise PluginFailed(self.fails, wants_terminal=self.wants_terminal)
        now = trio.current_time()
        return Credential(f"token {self.runs}", "", "", now, now + self.lifetime, "")


@asynccontextmanager
async def signing_in(plugin: Plugin, asks: bool = True) -> AsyncIterator[SignIn]:
    async with trio.open_nursery() as nursery:

        def spawn(run: Callable[[], Awaitable[None]]) -> None:
            nursery.start_soon(run)

        yield SignIn(plugin.run, spawn, asks)
        nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kpf_supervise.sign_in.flight.time.time", trio.current_time)


async def failure(sign_in: SignIn | Share) -> str:
    with pytest.raises(ForwardError) as raised:
        await sign_in.get()
    return raised.value.problem.message


async def test_all_share_one_and_the_next_comes_shortly_before_its_end(autojump_clock: MockClock) -> None:
    plugin = Plugin(lifetime=100.0)
    async with signing_in(plugin) as sign_in:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(sign_in.get)
        assert plugin.runs == 1
        await trio.sleep(94.9)
        assert (await sign_in.get()).generation == 1
        await trio.sleep(0.2)  # 5 s before
        given = await sign_in.get()
        assert (plugin.runs, given.generation, given.credential.token) == (2, 2, "token 2")


async def test_a_caller_that_leaves_ends_nothing(autojump_clock: MockClock) -> None:
    plugin = Plugin(takes=60)
    async with signing_in(plugin) as sign_in:
        with trio.move_on_after(1):
            await sign_in.get()
        await sign_in.get()
        assert (plugin.runs, trio.current_time()) == (1, 60)


async def test_one_in_which_somebody_was_asked_is_not_begun_again_by_itself(autojump_clock: MockClock) -> None:
    plugin = Plugin(takes=20, fails="the window was closed")
    async with signing_in(plugin) as sign_in:
        assert await failure(sign_in) == "the window was closed"
        await trio.sleep(3600)
        assert await failure(sign_in) == "the window was closed"
        assert plugin.runs == 1
        sign_in.permit()
        plugin.fails = ""
        await sign_in.get()
        assert plugin.runs == 2


@pytest.mark.parametrize(("asks", "wants", "begun"), [(True, False, True), (False, False, True), (True, True, False)])
async def test_a_quick_failure_is_begun_again_with_pauses(
    autojump_clock: MockClock, asks: bool, wants: bool, begun: bool
) -> None:
    """Unless it failed because there is no terminal."""
    plugin = Plugin(takes=0.5, fails="no network")
    plugin.wants_terminal = wants
    async with signing_in(plugin, asks) as sign_in:
        times = []
        for _ in range(3000):
            before = plugin.runs
            await failure(sign_in)
            if plugin.runs > before:
                times.append(trio.current_time())
            await trio.sleep(0.1)
        pauses = [after - before - 0.5 for before, after in pairwise(times)]
        assert bool(pauses) is begun
        if begun:
            assert 0.3 <= pauses[0] <= 0.7
            assert 22 <= pauses[-1] <= 30.2
            assert len(pauses) < 20


async def test_a_plugin_that_never_asks_may_take_its_time(autojump_clock: MockClock) -> None:
    plugin = Plugin(takes=20, fails="no network")
    async with signing_in(plugin, asks=False) as sign_in:
        await failure(sign_in)
        await trio.sleep(1)
        await failure(sign_in)
        assert plugin.runs == 2


async def test_a_new_client_begins_one_but_not_at_once(autojump_clock: MockClock) -> None:
    plugin = Plugin(takes=20, fails="the window was closed")
    async with signing_in(plugin) as sign_in:
        await failure(sign_in)
        await trio.sleep(59)
        sign_in.call()
        await failure(sign_in)
        assert plugin.runs == 1
        await trio.sleep(1)
        sign_in.call()
        await failure(sign_in)
        assert plugin.runs == 2


async def test_a_sign_in_that_is_wanted_leaves_what_there_is_until_it_has_ended(autojump_clock: MockClock) -> None:
    plugin = Plugin()
    async with signing_in(plugin) as sign_in:
        await sign_in.get()
        plugin.takes, plugin.fails = 30, "the window was closed"
        async with trio.open_nursery() as nursery:

            async def wanted() -> None:
                with pytest.raises(ForwardError):
                    await sign_in.again()

            nursery.start_soon(wanted)
            await trio.sleep(1)
            assert sign_in.since is not None
            assert (await sign_in.get()).generation == 1
        assert (await sign_in.get()).generation == 1


async def test_one_from_elsewhere_serves_those_that_wait(autojump_clock: MockClock) -> None:
    plugin = Plugin(takes=600)
    async with signing_in(plugin) as sign_in, trio.open_nursery() as nursery:
        nursery.start_soon(sign_in.get)
        await trio.sleep(5)
        sign_in.take(Credential("mine", "", "", trio.current_time(), None, None))
        assert (await sign_in.get()).credential.token == "mine"
        nursery.cancel_scope.cancel()


async def test_a_bug_in_it_leaves_nobody_waiting(autojump_clock: MockClock) -> None:
    async def broken() -> Credential:
        await trio.sleep(1)
        raise ZeroDivisionError

    bugs: list[BaseException] = []
    async with trio.open_nursery() as nursery:

        def spawn(run: Callable[[], Awaitable[None]]) -> None:
            async def once() -> None:
                try:
                    await run()
                except ZeroDivisionError as bug:
                    bugs.append(bug)

            nursery.start_soon(once)

        sign_in = SignIn(broken, spawn)
        assert await failure(sign_in) == "the sign-in broke off"
    assert len(bugs) == 1
