"""The kubectls of one forward, with made-up ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from supervisor.board import Board
from supervisor.child import Child
from supervisor.crew import Crew, Tools
from supervisor.listener import Listening
from supervisor.lookout import Goal
from supervisor.model import ANYWHERE, Forward, Status, Target
from supervisor.news import News
from supervisor.reception import Reception
from supervisor.turns import Turns

FORWARD = Forward(id="it", target=Target("pod", "a"), remote=80)


async def test_a_restart_in_the_moment_in_which_a_kubectl_gets_ready_leaves_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    restarted = trio.CancelScope()
    ended = trio.Event()

    async def run(child: Child, *_: Any, task_status: trio.TaskStatus[None]) -> None:
        child.begun.set()
        task_status.started()
        restarted.cancel()
        with child.scope:
            await trio.sleep_forever()
        ended.set()

    monkeypatch.setattr(Child, "run", run)
    status, news = Status(forward=FORWARD), News()
    reception = Reception(FORWARD, status, Listening(0, ()), news)
    others = SimpleNamespace(binary="kubectl", version=None)
    tools = Tools(cast(Any, others), cast(Any, None), cast(Any, None), Board(), Turns(1))
    crew = Crew(status, reception, cast(Any, None), tools, news)
    watch = cast(Any, SimpleNamespace(cluster=ANYWHERE, namespace="dev"))
    async with trio.open_nursery() as crew.nursery:
        with restarted:
            await crew.add(Goal(watch, None, "pod/a", 80))
        assert restarted.cancelled_caught
        with trio.fail_after(5):
            await ended.wait()
    assert reception.children == []
