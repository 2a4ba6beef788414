"""Who shares a forward with whom, and until when. No kubectl runs: the supervisor is one that does as it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from kpf_supervise.events.board import Board
from kpf_supervise.instance.sharing import Ending, Shared, Sharing
from kpf_supervise.kubectl.contexts import Resolved
from kpf_supervise.model import (
    FINAL,
    TEMPLATE,
    Cause,
    Cluster,
    Connection,
    Forward,
    ForwardError,
    Problem,
    State,
    Status,
    Target,
    Trigger,
)
from kpf_supervise.origin import Origin

WEB = replace(TEMPLATE, target=Target("service", "web"), remote=80)
TTL = 60.0


class Contexts:
    """A kubeconfig with the contexts dev and prod, each with a namespace of its name."""

    def __init__(self) -> None:
        self.current = "dev"
        self.pinned: dict[Cluster, Resolved] = {}

    async def read(self, cluster: Cluster) -> Resolved:
        await trio.lowlevel.checkpoint()
        name = cluster.context or self.current
        if name not in ("dev", "prod"):
            raise ForwardError(Problem(Cause.NO_SUCH_CONTEXT, f"the kubeconfig has no context {name}"))
        return Resolved(Cluster(cluster.kubeconfig, name), name, (cluster.kubeconfig, name, name), {})

    async def of(self, cluster: Cluster) -> Resolved:
        if cluster not in self.pinned:
            self.pinned[cluster] = await self.read(cluster)
        return self.pinned[cluster]


class Instance:
    """In the place of a supervisor. Each forward is active `delay` seconds after its start, or fails with `problem`."""

    def __init__(self) -> None:
        self.board, self.contexts, self.ending = Board(), Contexts(), False
        self.delay, self.restarts, self.permits = 1.0, 0, 0
        self.problem: Problem | None = None
        self.logins = SimpleNamespace(of_context=lambda name: self.signing_in, permit=self.permit)
        self.signing_in: list[Any] = []

    def permit(self) -> None:
        self.permits += 1

    async def start(self, forward: Forward) -> None:
        await trio.lowlevel.checkpoint()
        status = self.listed(forward, Origin.KPFCTL)
        self.board.changed(status, Trigger.CONNECT, "connecting")
        self.nursery.start_soon(self.settle, status)

    def listed(self, forward: Forward, origin: Origin, state: Trigger | None = None) -> Status:
        status = self.board.add(forward, origin)
        status.port = forward.local or 40_000 + len(self.board.statuses)
        for trigger in (Trigger.CONNECT, state) if state else ():
            self.board.changed(status, trigger, "as listed")
        return status

    async def settle(self, status: Status) -> None:
        await trio.sleep(self.delay)
        if self.board.statuses.get(status.forward.id) is status:
            trigger = Trigger.GIVE_UP if self.problem else Trigger.READY
            self.board.changed(status, trigger, "settled", problem=self.problem)

    async def stop(self, ids: list[str]) -> None:
        await trio.lowlevel.checkpoint()
        for id in ids:
            self.board.changed(self.board.statuses[id], Trigger.STOP, "stopped")
            self.board.remove(id)

    async def restart(self, id: str) -> None:
        self.restarts += 1
        self.board.changed(self.board.statuses[id], Trigger.CONNECT, "restarted")
        self.nursery.start_soon(self.settle, self.board.statuses[id])

    async def ensure(self, wanted: Forward = WEB, ttl: float = TTL, timeout: float = 5, **more: Any) -> Shared:
        def free_id() -> str:
            return f"{wanted.target.name}-{len(self.board.statuses)}"

        shared = await self.sharing.ensure(wanted, free_id, ttl, timeout, **more)
        assert shared is not None
        return shared

    @asynccontextmanager
    async def runs(self, until_unused: bool = False) -> AsyncIterator[trio.Event]:
        """Yields what is set when it ends by itself."""
        ended = trio.Event()
        self.sharing = Sharing(self, self.board, trio.current_time)  # type: ignore[arg-type]
        async with trio.open_nursery() as self.nursery:
            self.nursery.start_soon(self.sharing.run, ended.set if until_unused else None)
            yield ended
            self.nursery.cancel_scope.cancel()


@pytest.fixture
def instance() -> Instance:
    return Instance()


async def test_those_that_come_at_the_same_moment_share_one_and_the_last_lease_counts(
    instance: Instance, autojump_clock: MockClock
) -> None:
    async with instance.runs():
        found: list[Shared] = []

        async def ask(ttl: float) -> None:
            found.append(await instance.ensure(ttl=ttl))

        async with trio.open_nursery() as nursery:
            for ttl in (10, 60, 20):
                nursery.start_soon(ask, ttl)
        active_at = trio.current_time()
        assert len({id(each.status) for each in found}) == 1
        assert sorted(each.found for each in found) == [False, True, True]
        assert (await instance.ensure(ttl=5)).status.lease == active_at + 60  # nobody's is shortened
        await trio.sleep(59.9)
        assert list(instance.board.statuses) == ["web-0"]
        await trio.sleep(0.2)
        assert not instance.board.statuses


@pytest.mark.parametrize("origin", [Origin.FILE, Origin.SERVICES, Origin.EACH, Origin.KPFCTL])
async def test_what_is_there_is_shared_whoever_lists_it_and_needs_no_lease(
    instance: Instance, autojump_clock: MockClock, origin: Origin
) -> None:
    async with instance.runs():
        listed = instance.listed(replace(WEB, id="own"), origin, Trigger.READY)
        shared = await instance.ensure()
        assert (shared.status, shared.found, listed.lease) == (listed, True, None)
        await trio.sleep(10 * TTL)
        assert list(instance.board.statuses) == ["own"]


async def test_only_the_same_is_shared(instance: Instance, autojump_clock: MockClock) -> None:
    other = Path("/other/config")
    instance.listed(replace(WEB, id="stopped"), Origin.FILE).port = None
    instance.listed(replace(WEB, id="by-proxy", proxied=True), Origin.PROXY)
    instance.listed(replace(WEB, id="wrong", cluster=Cluster(context="nosuch")), Origin.FILE)
    async with instance.runs():
        asked = [
            WEB,
            replace(WEB, remote="http"),
            replace(WEB, target=Target("pod", "web")),
            replace(WEB, namespace="shop"),
            replace(WEB, cluster=Cluster(context="prod")),
            replace(WEB, cluster=Cluster(other)),
            replace(WEB, local=30_000),
        ]
        first = [await instance.ensure(each) for each in asked]
        assert [each.found for each in first] == [False] * len(asked)
        again = [await instance.ensure(each) for each in asked]
        assert [each.status for each in again] == [each.status for each in first]
        in_words = replace(WEB, cluster=Cluster(context="dev"), namespace="dev")
        assert (await instance.ensure(in_words)).status is first[0].status


async def test_the_context_is_the_one_that_is_current_when_it_is_asked_for(
    instance: Instance, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text("dev")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    async with instance.runs():
        dev = await instance.ensure()
        kubeconfig.write_text("another one")
        instance.contexts.current = "prod"
        prod = await instance.ensure()
        assert (dev.status.forward.cluster.context, dev.status.forward.namespace) == ("dev", "dev")
        assert (prod.status.forward.cluster.context, prod.status.forward.namespace) == ("prod", "prod")
        assert prod.status is not dev.status


@pytest.mark.parametrize("cause", Cause)
async def test_what_can_not_work_leaves_nothing_unless_somebody_may_sign_in(
    instance: Instance, autojump_clock: MockClock, cause: Cause
) -> None:
    instance.problem = Problem(cause, "because", "Do this")
    async with instance.runs():
        with pytest.raises(ForwardError, match=r"because. Do this"):
            await instance.ensure()
        assert trio.current_time() == (1 if cause in FINAL else 5)  # others may pass within the timeout
        kept = cause is Cause.CREDENTIALS
        assert [each.lease for each in instance.board.statuses.values()] == [1 + TTL] * kept
        if kept:  # it is begun again by whoever asks again
            instance.problem = None
            await instance.ensure()
            assert (instance.restarts, instance.permits) == (1, 1)


async def test_a_sign_in_that_takes_its_time_goes_on_after_the_timeout(
    instance: Instance, autojump_clock: MockClock
) -> None:
    instance.delay, instance.signing_in = 100.0, [SimpleNamespace(signing_in="signing in with kubelogin")]
    async with instance.runs():
        with pytest.raises(ForwardError) as raised:
            await instance.ensure(ttl=500)
        assert raised.value.problem.cause is Cause.CREDENTIALS
        await trio.sleep(100)
        assert (await instance.ensure()).status.state is State.ACTIVE
        assert trio.current_time() == 105


async def test_the_failure_of_a_sign_in_is_not_the_last_word_once_another_one_has_succeeded(
    instance: Instance, autojump_clock: MockClock
) -> None:
    instance.problem = expired = Problem(Cause.CREDENTIALS, "it has expired")
    instance.signing_in = [login := SimpleNamespace(signing_in="", problem=None)]
    async with instance.runs():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(instance.ensure)
            await trio.sleep(2)
            (status,) = instance.board.statuses.values()
            assert status.hopeless
            instance.problem = None
            await instance.restart(status.forward.id)
        assert (status.state, trio.current_time()) == (State.ACTIVE, 3)
        instance.problem = login.problem = expired
        instance.board.changed(status, Trigger.GIVE_UP, "again", problem=expired)
        with pytest.raises(ForwardError, match="it has expired"):
            await instance.ensure()


async def test_whoever_gives_up_takes_nothing_from_those_that_wait_on(
    instance: Instance, autojump_clock: MockClock
) -> None:
    instance.delay = 8.0
    async with instance.runs(), trio.open_nursery() as nursery:

        async def patient() -> None:
            shared = await instance.ensure(timeout=20)
            assert (shared.status.state, trio.current_time()) == (State.ACTIVE, 8.0)

        nursery.start_soon(patient)
        with pytest.raises(ForwardError, match=r"^web-0 is still connecting: connecting$"):
            await instance.ensure(timeout=5)
    assert list(instance.board.statuses) == ["web-0"]


async def test_an_open_connection_keeps_it_beyond_its_lease(instance: Instance, autojump_clock: MockClock) -> None:
    async with instance.runs():
        status = (await instance.ensure()).status
        status.open.append(Connection("127.0.0.1:1", 0.0))
        await trio.sleep(3 * TTL)
        assert list(instance.board.statuses) == ["web-0"]
        status.open.clear()
        status.left()
        await wait_all_tasks_blocked()
        assert not instance.board.statuses


async def test_an_idle_one_counts_as_it_does_for_kpfctl_wait(instance: Instance, autojump_clock: MockClock) -> None:
    async with instance.runs():
        lazy = instance.listed(replace(WEB, id="lazy", lazy=True), Origin.FILE, Trigger.QUIET)
        assert (await instance.ensure()).status is lazy
        assert (trio.current_time(), lazy.state) == (0, State.IDLE)


async def test_one_that_is_stopped_meanwhile_is_told(instance: Instance, autojump_clock: MockClock) -> None:
    async with instance.runs(), trio.open_nursery() as nursery:

        async def stop() -> None:
            await trio.sleep(0.5)
            await instance.stop(["web-0"])

        nursery.start_soon(stop)
        with pytest.raises(ForwardError, match="web-0 was stopped meanwhile"):
            await instance.ensure()


async def test_without_a_start_only_what_is_there_is_given(instance: Instance, autojump_clock: MockClock) -> None:
    async with instance.runs():
        assert await instance.sharing.ensure(WEB, str, TTL, 5, start=False) is None
        assert not instance.board.statuses
        first = await instance.ensure()
        assert (await instance.ensure(start=False)).status is first.status


async def test_an_instance_that_nobody_needs_ends_and_refuses_who_comes_too_late(
    instance: Instance, autojump_clock: MockClock
) -> None:
    async with instance.runs(until_unused=True) as ended:
        await ended.wait()
        assert trio.current_time() == 10  # whoever has begun it has not come
        with pytest.raises(Ending):
            await instance.ensure()
        assert not instance.board.statuses


async def test_it_ends_with_its_last_lease(instance: Instance, autojump_clock: MockClock) -> None:
    async with instance.runs(until_unused=True) as ended:
        await instance.ensure(ttl=20)
        await instance.ensure(replace(WEB, remote=81), ttl=40)
        await ended.wait()
        assert trio.current_time() == 1 + 1 + 40 + 1


async def test_it_does_not_end_while_somebody_asks_or_something_is_listed_without_a_lease(
    instance: Instance, autojump_clock: MockClock
) -> None:
    instance.delay = 50.0
    async with instance.runs(until_unused=True) as ended:
        with pytest.raises(ForwardError):
            await instance.ensure(timeout=30)
        assert not ended.is_set()
        instance.listed(replace(WEB, id="by-hand"), Origin.KPFCTL)
        await trio.sleep(100)
        assert not ended.is_set()
        await instance.stop(["by-hand"])
        await ended.wait()
        assert trio.current_time() == 131


async def test_who_waits_while_the_instance_is_shut_down_is_told_to_ask_another(
    instance: Instance, autojump_clock: MockClock
) -> None:
    async with instance.runs(), trio.open_nursery() as nursery:

        async def shut_down() -> None:
            await trio.sleep(0.5)
            instance.ending = True
            instance.board.close()

        nursery.start_soon(shut_down)
        with pytest.raises(Ending):
            await instance.ensure()
