"""One decision in the making: the facts, what is remembered, and what is to be done so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kpf_supervise.decision.facts import Action, Adopt, Become, Decision, Facts, Incarnation, Memory, Start, Tell
from kpf_supervise.decision.tunnel_states import (
    TUNNEL_TRANSITIONS,
    Endpoint,
    Reason,
    TunnelRecord,
    TunnelState,
    TunnelTrigger,
)
from kpf_supervise.model import TRANSITIONS, Trigger
from kpf_supervise.watching.pods import Pod


class WrongTransitionError(Exception):
    """A transition of a tunnel that is not in the table: a bug."""


class Step:
    """The rules read and write it one after the other. A tunnel's new state counts for the rules that follow."""

    def __init__(self, facts: Facts, memory: Memory) -> None:
        self.facts = facts
        self.sight = facts.sight
        self.now = facts.now
        self.memory = memory
        self.actions: list[Action] = []
        self.look_at = float("inf")
        self.forward_state = facts.state
        self.failed: list[TunnelRecord] = []  # tunnels that could not be started
        self.starts: list[Endpoint] = []  # of the tunnels that are to be started
        self._stopped: list[TunnelRecord] = []  # those that stop serving now
        self._states = {tunnel: tunnel.state for tunnel in facts.tunnels}
        self._reasons = {tunnel: (tunnel.reason, tunnel.because) for tunnel in facts.tunnels}

    def all(self, *states: TunnelState) -> list[TunnelRecord]:
        """The tunnels in these states, oldest first."""
        return [tunnel for tunnel, state in self._states.items() if state in states]

    def state(self, tunnel: TunnelRecord) -> TunnelState:
        return self._states[tunnel]

    def reason(self, tunnel: TunnelRecord) -> Reason | None:
        return self._reasons[tunnel][0]

    def because(self, tunnel: TunnelRecord) -> str:
        return self._reasons[tunnel][1]

    def change(self, tunnel: TunnelRecord, trigger: TunnelTrigger, reason: Reason | None = None, why: str = "") -> None:
        """Without a new reason, the one that it has stays. Raises WrongTransitionError."""
        before = self._states[tunnel]
        after = TUNNEL_TRANSITIONS[before].get(trigger)
        if after is None:
            raise WrongTransitionError(f"a tunnel that is {before}: {trigger} ({reason})")
        if reason is not None:
            self._reasons[tunnel] = (reason, why)
        self._states[tunnel] = after
        self.actions.append(Become(tunnel, after, *self._reasons[tunnel], self.sight.renewed))
        if before is TunnelState.SERVING:
            self._stopped.append(tunnel)

    def take_stopped(self) -> list[TunnelRecord]:
        """The tunnels that have stopped serving since the last call."""
        stopped, self._stopped = self._stopped, []
        return stopped

    def start(self, endpoint: Endpoint, *, early: bool = False) -> None:
        """A pod that refused connections is tested first."""
        prove = endpoint.incarnation in self.memory.refused
        self.starts.append(endpoint)
        self.actions.append(Start(endpoint, self.sight.renewed, prove, early))

    def refused(self, pod: Pod | None) -> None:
        """It has refused connections: its next tunnel is tested before it serves."""
        if pod is not None:
            self.remember(refused=self.memory.refused & self.pods | {pod.incarnation})

    def remember(self, **changed: Any) -> None:
        self.memory = replace(self.memory, **changed)

    def at(self, time: float) -> None:
        """Decide again at this time, if it is later than now."""
        self.look_at = min(self.look_at, time)

    def tell(self, trigger: Trigger, message: str, **more: Any) -> None:
        self.actions.append(Tell(trigger=trigger, message=message, **more))
        self.forward_state = TRANSITIONS[self.forward_state][trigger]

    def outdated(self, pod: Pod | None, renewed: int) -> bool:
        """Whether another pod is to be used now, or the connection by which the tunnel was started was found dead."""
        return renewed != self.sight.renewed or self.moved_on(pod)

    @property
    def pods(self) -> frozenset[Incarnation | None]:
        """Those that are listed, and those of the tunnels: a pod may be used while the list is old."""
        listed = (pod.incarnation for pod in self.sight.pods)
        return frozenset([*listed, *(tunnel.incarnation for tunnel in self.facts.tunnels)])

    def ready(self) -> Sequence[Pod]:
        """The pods that connections may be spread over."""
        return self.sight.ready(self.memory.pod, self.memory.family)

    def moved_on(self, pod: Pod | None) -> bool:
        """Whether the watch shows that this pod is no longer the one to use."""
        if pod is None or not self.sight.fresh:
            return False
        now = self.sight.choose(pod, self.memory.family).pod
        return now is None or now.incarnation != pod.incarnation

    def chance(self) -> float:
        return self.facts.chance

    @property
    def decision(self) -> Decision:
        """A tunnel that has changed is a new fact, of which nobody else tells: decide again at once."""
        changed = any(isinstance(action, Adopt | Become) for action in self.actions)
        return Decision(self.memory, tuple(self.actions), self.facts.now if changed else self.look_at)
