"""Any order of pods' events, kubectl's words and ends, clients, outages and times: what must hold all the while, and
that all is well again once the cluster is."""

from __future__ import annotations

import os
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kpf_supervise.decision.facts import HeldClient, Serving
from kpf_supervise.decision.tunnel_states import Check, TunnelRecord, TunnelState
from kpf_supervise.model import Cause, Problem, State, Target
from tests.decision.world import FORWARD, TARGET, World, pod

HISTORIES = int(os.environ.get("HISTORIES", "150"))  # make soak plays 10,000
PODS = st.sampled_from(["web-1", "web-2", "web-3"])
SAID = st.sampled_from([Cause.REMOTE_REFUSED, Cause.POD_GONE, Cause.STALLED, Cause.LOST])
ENDS = st.sampled_from(
    [Cause.LOST, Cause.STREAM, Cause.POD_GONE, Cause.API_UNREACHABLE, Cause.FORBIDDEN, Cause.TOO_SLOW, Cause.OTHER]
)


class AnyOrder(RuleBasedStateMachine):
    world: World

    @initialize(
        children=st.sampled_from([1, 3]),
        lazy=st.booleans(),
        chance=st.sampled_from([0.0, 0.5, 1.0]),
        known=st.booleans(),
        balance=st.booleans(),
    )
    def begin(self, children: int, lazy: bool, chance: float, known: bool, balance: bool) -> None:
        target = TARGET if known else Target("service", "web")
        idle = 60.0 if lazy else None
        given = replace(FORWARD, target=target, children=children, lazy=lazy, idle_timeout=idle, balance=balance)
        self.world = World(given)
        self.world.chance = chance
        if not known:
            self.world.listed, self.world.slow = 0, True
        self.world.set_pod("web-1")

    def tunnel(self, data: st.DataObject, *states: TunnelState) -> TunnelRecord | None:
        found = [tunnel for tunnel in self.world.tunnels if tunnel.state in (states or tuple(TunnelState))]
        return data.draw(st.sampled_from(found)) if found else None

    # --- the cluster

    @rule(name=PODS)
    def a_pod_is_ready(self, name: str) -> None:
        self.world.set_pod(name, ready=True, terminating=False, trouble="")

    @rule(name=PODS)
    def a_pod_is_not_ready(self, name: str) -> None:
        self.world.set_pod(name, ready=False, trouble="running, but not ready")

    @rule(name=PODS)
    def a_pod_is_deleted(self, name: str) -> None:
        if name in self.world.pods:
            self.world.set_pod(name, terminating=True)

    @rule(name=PODS)
    def a_pod_is_gone(self, name: str) -> None:
        self.world.remove_pod(name)

    @rule(name=PODS)
    def a_pod_is_another_of_that_name(self, name: str) -> None:
        self.world.pods[name] = pod(name, uid=f"{name} at {self.world.now}")
        self.world.settle()

    @rule(name=PODS)
    def a_container_restarts(self, name: str) -> None:
        if name in self.world.pods:
            self.world.set_pod(name, restarts=self.world.pods[name].restarts + 1)

    @rule(known=st.booleans())
    def the_api_server_is_gone(self, known: bool) -> None:
        self.world.lose_api(known)

    @rule()
    def nothing_comes_from_the_api_server(self) -> None:
        self.world.lose_line()

    @rule()
    def the_api_server_answers_and_refuses(self) -> None:
        if self.world.down:
            self.world.regain_line()

    @rule()
    def the_api_server_answers(self) -> None:
        self.world.regain_api()

    @rule(slow=st.booleans())
    def a_look_up_ends(self, slow: bool) -> None:
        self.world.slow = slow
        self.world.listed = self.world.listed or 1
        if self.world.looking:
            self.world.end_look()
        self.world.settle()

    @rule()
    def connections_were_found_dead(self) -> None:
        if not self.world.down:
            self.world.renew()

    # --- kubectl

    @rule(data=st.data())
    def a_kubectl_is_ready(self, data: st.DataObject) -> None:
        if (tunnel := self.tunnel(data, TunnelState.STARTING)) is not None:
            self.world.ready(tunnel)

    @rule(data=st.data(), name=PODS)
    def a_kubectl_has_chosen_a_pod(self, data: st.DataObject, name: str) -> None:
        tunnel = self.tunnel(data, TunnelState.STARTING)
        if tunnel is not None and tunnel.early and not tunnel.went_to:
            tunnel.went_to = name
            self.world.settle()

    @rule(data=st.data(), cause=SAID)
    def a_kubectl_says(self, data: st.DataObject, cause: Cause) -> None:
        if (tunnel := self.tunnel(data)) is not None:
            self.world.says(tunnel, cause)

    @rule(data=st.data(), cause=ENDS)
    def a_kubectl_ends(self, data: st.DataObject, cause: Cause) -> None:
        if (tunnel := self.tunnel(data)) is not None:
            self.world.exits(tunnel, cause)

    @rule(data=st.data(), answered=st.booleans())
    def an_answer_is_missing_or_comes(self, data: st.DataObject, answered: bool) -> None:
        tunnel = self.tunnel(data, TunnelState.SERVING, TunnelState.SUSPECT, TunnelState.RETIRING)
        if tunnel is not None and tunnel.connections:
            tunnel.unanswered = None if answered else 5.0
            self.world.settle()

    @rule(data=st.data())
    def a_download_is_broken_off(self, data: st.DataObject) -> None:
        if (tunnel := self.tunnel(data, TunnelState.SERVING)) is not None:
            tunnel.wedges = tunnel.broken_off = True
            self.world.settle()

    @rule(data=st.data(), reads=st.booleans())
    def a_client_reads_nothing_or_again(self, data: st.DataObject, reads: bool) -> None:
        if self.world.served:
            client = data.draw(st.sampled_from(sorted(self.world.served, key=lambda each: each.number)))
            blocked = self.world.served[client].blocked
            if reads:
                blocked.pop(client.number, None)
            else:
                blocked[client.number] = self.world.now
            self.world.settle()

    @rule(data=st.data(), result=st.sampled_from([Check.ALIVE, Check.DEAD]))
    def a_check_is_over(self, data: st.DataObject, result: Check) -> None:
        checked = [tunnel for tunnel in self.world.tunnels if tunnel.check is Check.RUNNING]
        if checked:
            data.draw(st.sampled_from(checked)).check = result
            self.world.settle()

    # --- the user

    @rule()
    def a_client_comes(self) -> None:
        self.world.connect(f"client {self.world.arrived + 1}")

    @rule(count=st.integers(1, 7), together=st.booleans())
    def clients_of_equal_life_come(self, count: int, together: bool) -> None:
        """At the same time, or each when the one before it has left: each tunnel gets as many of them, or one more."""
        for client in [*self.world.held, *self.world.served]:
            self.world.leave(client)
        given = dict.fromkeys(self.serving()[: self.world.settings.children], 0)
        for number in range(count):
            client = self.world.connect(f"client {number} of {count}")
            if client in self.world.served and self.world.served[client] in given:
                given[self.world.served[client]] += 1
            if not together:
                self.world.leave(client)
        if given.keys() == {*self.serving()[: self.world.settings.children]}:
            assert max(given.values(), default=0) - min(given.values(), default=0) <= 1

    @rule(data=st.data())
    def a_client_leaves(self, data: st.DataObject) -> None:
        clients = [*self.world.held, *self.world.served]
        if clients:
            self.world.leave(data.draw(st.sampled_from(clients)))

    @rule()
    def a_sign_in_begins(self) -> None:
        self.world.signing_in_since, self.world.no_login = self.world.now, None
        self.world.settle()

    @rule(fails=st.booleans())
    def a_sign_in_ends(self, fails: bool) -> None:
        self.world.signing_in_since = None
        self.world.no_login = Problem(Cause.CREDENTIALS, "the plugin failed") if fails else None
        self.world.settle()

    @rule()
    def the_user_wants_a_restart(self) -> None:
        self.world.restarts += 1
        self.world.settle()

    @rule(seconds=st.sampled_from([0.006, 0.15, 0.25, 1.1, 3.5, 12.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    # --- what holds

    def serving(self) -> list[TunnelRecord]:
        return [tunnel for tunnel in self.world.tunnels if tunnel.state is TunnelState.SERVING]

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def active_means_that_a_tunnel_serves(self) -> None:
        """Or that one has just lost its connection: for the moment in which kubectl says why."""
        phase = self.world.memory.phase
        words = isinstance(phase, Serving) and bool(phase.leaving)
        assert (self.world.state is State.ACTIVE) == bool(self.serving()) or words

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def who_serves_is_on_the_right_pod(self) -> None:
        sight = self.world.facts().sight
        for tunnel in self.serving():
            assert tunnel.fault is None
            assert tunnel.endpoint.pod is not None  # where pods may be listed, it waits for the listing
            assert tunnel.renewed == sight.renewed
            assert not sight.cut_off
            if sight.fresh:
                assert sight.choose(tunnel.endpoint.pod, None).pod == sight.pods.named(tunnel.endpoint.pod.name)

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def nobody_waits_beside_a_tunnel_that_serves(self) -> None:
        may_wedge = any(tunnel.wedges and tunnel.connections for tunnel in self.serving())
        assert not self.serving() or not self.world.held or may_wedge

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def few_start_at_once(self) -> None:
        starting = [tunnel for tunnel in self.world.tunnels if tunnel.state is TunnelState.STARTING]
        children = self.world.settings.children
        if self.world.settings.balance:
            assert len(starting) + len(self.serving()) <= children
        else:
            assert len(starting) <= 1
            assert len(starting) + len(self.serving()) <= (children + 1 if children > 1 else 1)

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def balanced_each_pod_has_one_tunnel(self) -> None:
        """And each ready pod has one, or pauses, as far as there are places."""
        world = self.world
        if not world.settings.balance:
            return
        used = [each for each in world.tunnels if each.state in (TunnelState.STARTING, TunnelState.SERVING)]
        assert len({each.incarnation for each in used}) == len(used)
        phase = world.memory.phase
        if self.serving() and isinstance(phase, Serving) and not phase.leaving:
            paused = {each for each, pause in world.memory.pauses.items() if pause.until > world.now}
            ready = {each.incarnation for each in world.pods.values() if each.usable}
            assert ready <= paused | {each.incarnation for each in used} or len(used) == world.settings.children

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def who_waits_is_looked_at_in_time(self) -> None:
        for client in self.world.held:
            assert self.world.look_at <= client.since + self.world.settings.hold

    @precondition(lambda self: hasattr(self, "world"))
    @invariant()
    def an_ended_tunnel_is_forgotten(self) -> None:
        phase = self.world.memory.phase
        kept = phase.leaving if isinstance(phase, Serving) else ()
        assert all(tunnel in kept for tunnel in self.world.tunnels if tunnel.state is TunnelState.ENDED)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.starts_that_all_fail_are_few()
        self.all_is_well_again()

    def starts_that_all_fail_are_few(self) -> None:
        """Nothing happens in the cluster and nobody waits: one round of attempts, and then nothing more."""
        world = self.world
        for client in [*world.held, *world.served]:
            world.leave(client)
        world.pass_time(10)
        before = len(world.started)
        for _ in range(200):
            for tunnel in [each for each in world.tunnels if each.state is TunnelState.STARTING]:
                world.exits(tunnel, Cause.OTHER)
            world.pass_time(5)
        rounds = 1000 / 30 if self.serving() else 2  # spares are tried again without an end
        attempts = world.settings.reconnect.attempts
        assert attempts is not None
        pods = world.settings.children if world.settings.balance else 1
        assert len(world.started) - before <= pods * (rounds * (attempts + 1) + 10)

    def all_is_well_again(self) -> None:
        world = self.world
        world.regain_api()
        self.a_sign_in_ends(fails=False)
        self.a_look_up_ends(slow=False)
        for tunnel in world.tunnels:
            tunnel.wedges = False
            tunnel.went_to = tunnel.went_to or "web-9"
        world.pods = {"web-9": pod("web-9")}
        world.settle()
        late: list[HeldClient] = [world.connect("late")]
        for _ in range(100):
            for tunnel in [each for each in world.tunnels if each.state is TunnelState.STARTING]:
                world.ready(tunnel)
            if late[0] in world.served:
                break
            world.pass_time(0.2)
        assert world.served[late[0]].endpoint.label == "web-9"
        assert world.state is State.ACTIVE
        for client in [*world.served]:
            world.leave(client)
        for tunnel in world.tunnels:
            if tunnel.check is Check.RUNNING:
                tunnel.check = Check.ALIVE
        world.pass_time(1)
        assert all(tunnel.state in (TunnelState.SERVING, TunnelState.STARTING) for tunnel in world.tunnels)


TestAnyOrder = pytest.mark.random(pytest.mark.timeout(60 + HISTORIES / 4)(AnyOrder.TestCase))
# always the same ones, unless a number is given: make soak looks for others
FIXED = "HISTORIES" not in os.environ
TestAnyOrder.settings = settings(
    max_examples=HISTORIES, stateful_step_count=30, deadline=None, derandomize=FIXED, database=None
)
