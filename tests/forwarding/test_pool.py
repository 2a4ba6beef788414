"""The kubectls of one forward, with made-up ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from kpf_supervise.discovery.resolver import Endpoint
from kpf_supervise.events.board import Board
from kpf_supervise.forwarding.acceptor import ConnectionAcceptor
from kpf_supervise.forwarding.listener import Listening
from kpf_supervise.forwarding.pool import Tools, TunnelPool
from kpf_supervise.forwarding.tunnel import Tunnel
from kpf_supervise.model import ANYWHERE, Forward, Status, Target
from kpf_supervise.primitives.priority_limiter import PriorityLimiter
from kpf_supervise.primitives.signal import Signal

FORWARD = Forward(id="it", target=Target("pod", "a"), remote=80)


async def test_a_restart_in_the_moment_in_which_a_kubectl_gets_ready_leaves_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    restarted = trio.CancelScope()
    ended = trio.Event()

    async def run(child: Tunnel, *_: Any, task_status: trio.TaskStatus[None]) -> None:
        child.begun.set()
        task_status.started()
        restarted.cancel()
        with child.scope:
            await trio.sleep_forever()
        ended.set()

    monkeypatch.setattr(Tunnel, "run", run)
    status, news = Status(forward=FORWARD), Signal()
    acceptor = ConnectionAcceptor(FORWARD, status, Listening(0, ()), news)
    others = SimpleNamespace(binary="kubectl", version=None)
    tools = Tools(cast(Any, others), cast(Any, None), cast(Any, None), Board(), PriorityLimiter(1))
    crew = TunnelPool(status, acceptor, cast(Any, None), tools, news)
    watch = cast(Any, SimpleNamespace(cluster=ANYWHERE, namespace="dev"))
    async with trio.open_nursery() as crew.nursery:
        with restarted:
            await crew.add(Endpoint(watch, None, "pod/a", 80))
        assert restarted.cancelled_caught
        with trio.fail_after(5):
            await ended.wait()
    assert acceptor.tunnels == []
