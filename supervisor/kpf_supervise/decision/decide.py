"""What is to be done for one forward, from all that is known of it: one pure function, without clocks and without
waiting. The whole state is looked at anew each time, so no event can be missed, and a decision that is made again
without new facts asks for nothing."""

from __future__ import annotations

from kpf_supervise.decision.clients import held_clients
from kpf_supervise.decision.facts import Decision, Facts, Memory
from kpf_supervise.decision.rounds import forward
from kpf_supervise.decision.step import Step
from kpf_supervise.decision.tunnels import draining_tunnels, ended_tunnels, serving_tunnels, starting_tunnels


def decide(facts: Facts, memory: Memory) -> Decision:
    """The rules in their order: each sees what those before it have decided. Raises WrongTransitionError, which is a
    bug."""
    step = Step(facts, memory)
    starting_tunnels(step)
    serving_tunnels(step)
    forward(step)
    draining_tunnels(step)
    held_clients(step)
    ended_tunnels(step)
    return step.decision
