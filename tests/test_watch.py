"""A watch that was forbidden, on a clock of its own: no kubectl is run, the answers are made up."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
import trio
import trio.testing

from supervisor import watch as module
from supervisor.keeper import Keeper
from supervisor.model import Cause, Cluster, Problem, Trouble
from supervisor.outage import Outage
from supervisor.watch import Watch

FORBIDDEN = Problem(Cause.FORBIDDEN, "you (me) may not watch pods in namespace dev", "Ask for it")
PODS = json.dumps({"metadata": {"resourceVersion": "7"}, "items": []}).encode()


async def test_what_was_forbidden_is_asked_for_seldom(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, str]] = []
    notices: list[str] = []
    allowed = False

    async def output(words: Sequence[str], *_: object) -> bytes:
        asked.append((trio.current_time() - begun, words[-1].partition("?")[2]))
        if "watch=1" in words[-1] and not allowed:
            raise Trouble(FORBIDDEN)
        return PODS

    async def stream() -> None:
        if not allowed:
            raise Trouble(FORBIDDEN)
        await trio.sleep_forever()

    monkeypatch.setattr(module, "output", output)
    watch = Watch("kubectl", Cluster(), "dev", Keeper(0), notices.append, Outage("here", notices.append))
    monkeypatch.setattr(watch, "_stream", stream)
    begun = trio.current_time()
    probe = "watch=1&timeoutSeconds=1&resourceVersion=7"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await trio.sleep(700)
        assert asked == [(0, ""), (300, ""), (300, probe), (600, ""), (600, probe)]
        assert watch.denied
        watch.ask_again()
        await trio.testing.wait_all_tasks_blocked()
        assert asked[5:] == [(700, ""), (700, probe)]
        assert len(notices) == 1
        allowed = True
        await trio.sleep(301)
        assert asked[7:] == [(1000, ""), (1000, probe), (1000, "")]
        assert not watch.denied
        assert notices[1:] == ["pods in namespace dev are followed from now on: that is allowed now"]
        nursery.cancel_scope.cancel()
