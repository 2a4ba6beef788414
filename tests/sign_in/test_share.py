"""Credentials that an API server refuses. With a clock that jumps."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from kpf_supervise.model import Cause, ForwardError, Problem
from kpf_supervise.sign_in.share import Share
from tests.sign_in.test_flight import Plugin, failure, signing_in

REFUSED = Problem(Cause.CREDENTIALS, "the API server refuses it")


@pytest.fixture(autouse=True)
def one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kpf_supervise.sign_in.flight.time.time", trio.current_time)


async def test_those_that_were_refused_with_the_same_one_share_the_next(autojump_clock: MockClock) -> None:
    plugin = Plugin()
    async with signing_in(plugin) as sign_in:
        share = Share(sign_in, lambda: REFUSED)
        first = await share.get()
        for _ in range(3):
            share.refuse(first.generation)
            share.refuse(first.generation)  # also while the sign-in that follows has not ended
            assert share.problem is None
            assert (await share.get()).generation == 2
        share.accept(2)
        share.refuse(2)  # an hour later, say
        assert (await share.get()).generation == 3
        assert plugin.runs == 3


@pytest.mark.parametrize(("takes", "asks", "begun"), [(0.5, True, True), (20, False, True), (20, True, False)])
async def test_if_each_is_refused_it_has_failed(
    autojump_clock: MockClock, takes: float, asks: bool, begun: bool
) -> None:
    """It is begun again with pauses, or not at all if somebody was asked."""
    plugin = Plugin(takes)
    async with signing_in(plugin, asks) as sign_in:
        share = Share(sign_in, lambda: REFUSED)
        for generation in (1, 2):
            assert (await share.get()).generation == generation
            share.refuse(generation)
        assert await failure(share) == REFUSED.message
        assert share.problem == REFUSED
        for _ in range(1000):
            with suppress(ForwardError):
                share.refuse((await share.get()).generation)
            await trio.sleep(0.1)
        assert (plugin.runs > 2) is begun
        assert plugin.runs < 12, "no storm"
        before = plugin.runs
        share.permit()
        share.refuse((await share.get()).generation)
        assert plugin.runs == before + 1
        assert await failure(share) == REFUSED.message
        share.permit()
        share.accept((await share.get()).generation)
        assert share.problem is None


async def test_what_one_server_refuses_another_accepts(autojump_clock: MockClock) -> None:
    plugin = Plugin(takes=20)
    async with signing_in(plugin) as sign_in:
        refuses, accepts = Share(sign_in, lambda: REFUSED), Share(sign_in, lambda: REFUSED)
        for generation in (1, 2):
            assert (await refuses.get()).generation == (await accepts.get()).generation == generation
            accepts.accept(generation)
            refuses.refuse(generation)
        assert await failure(refuses) == REFUSED.message
        assert (await accepts.get()).generation == 2
        await trio.sleep(60)
        refuses.call()  # a new client
        assert (await refuses.get()).generation == 3
        assert (await accepts.get()).generation == 3
        assert plugin.runs == 3
