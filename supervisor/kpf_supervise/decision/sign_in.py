"""The rule for a forward that waits while somebody signs in: it says so, for as long as that takes. Pure."""

from __future__ import annotations

from kpf_supervise.decision import sentences
from kpf_supervise.decision.facts import Asking, Failed, Looking, Outage, Pausing, Starting, Waiting
from kpf_supervise.decision.step import Step
from kpf_supervise.decision.tunnel_states import TunnelState
from kpf_supervise.model import State

_QUICK = 2.0  # seconds; a plugin that nobody has to answer takes less, and is not worth a word


def waits_for_it(step: Step) -> None:
    """Tell that a sign-in runs, and once it has ended what follows."""
    sight, told = step.sight, step.memory.signing_in
    if sight.signing_in and sight.signing_in_since is not None:
        if told != sight.signing_in and _waits(step):
            if step.now >= sight.signing_in_since + _QUICK:
                sentences.signing_in(step)
                step.remember(signing_in=sight.signing_in)
            else:
                step.at(sight.signing_in_since + _QUICK)
    elif told:
        step.remember(signing_in="")
        if step.forward_state is State.WAITING and _waits(step):
            _go_on(step)


def _waits(step: Step) -> bool:
    phase = step.memory.phase
    if step.all(TunnelState.SERVING):
        return False
    if isinstance(phase, Waiting):
        return not step.sight.listed
    return isinstance(phase, Looking | Starting | Asking | Outage | Pausing | Failed)


def _go_on(step: Step) -> None:
    failure = step.sight.no_login
    if failure is None:
        sentences.signed_in(step)
    elif isinstance(step.memory.phase, Failed):
        sentences.failed(step, failure)
