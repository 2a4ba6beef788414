"""The rules for a forward while tunnels serve: what it means that some stop, how many are kept, and when the last one
is closed because nobody needs it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kpf_supervise.decision import sentences
from kpf_supervise.decision.facts import Loss, Serving
from kpf_supervise.decision.step import Step
from kpf_supervise.decision.tunnel_states import Reason, TunnelRecord, TunnelState, TunnelTrigger
from kpf_supervise.decision.tunnels import settling
from kpf_supervise.model import Cause, Problem
from kpf_supervise.primitives.backoff import HEALTHY

_ALL_OF_THEM = (Cause.REMOTE_REFUSED, Cause.POD_GONE)  # these concern the pod, so they apply to all its tunnels
_NO_FAILURE = (Reason.MOVED, Reason.RENEWED, Reason.CUT_OFF)  # even if kubectl has noticed something as well


def serving(step: Step, phase: Serving) -> Serving | Loss | None:
    """None: no tunnel serves any more, and that uses up no attempt."""
    _close_if_quiet(step)
    leaving = (*phase.leaving, *step.take_stopped())
    if leaving:
        if [tunnel for tunnel in leaving if settling(step, tunnel)]:
            return Serving(leaving)
        return _fewer(step, leaving)
    if step.failed is not None:
        _delay_spare(step, 0.0)
    _keep_spare(step)
    return phase


def _close_if_quiet(step: Step) -> None:
    timeout = step.facts.settings.idle_timeout
    if not step.facts.settings.lazy or timeout is None or step.facts.clients:
        return
    step.at(step.facts.quiet_since + timeout)
    if step.now >= step.facts.quiet_since + timeout:
        for tunnel in step.all(TunnelState.SERVING):
            step.change(tunnel, TunnelTrigger.RETIRED, Reason.QUIET)


def _fewer(step: Step, leaving: Sequence[TunnelRecord]) -> Serving | Loss | None:
    """These tunnels have stopped serving. While others serve, that uses up no attempt."""
    problem = next((tunnel.fault for tunnel in leaving if tunnel.fault is not None), None)
    last = leaving[-1]
    if problem is not None and problem.cause in _ALL_OF_THEM:
        for tunnel in step.all(TunnelState.SERVING):
            step.change(tunnel, TunnelTrigger.RETIRED, Reason.FAULT)
        last = (*leaving, *step.take_stopped())[-1]
    step.remember(retired=step.because(last))
    lived = _lived(step, last, problem)
    left = len(step.all(TunnelState.SERVING))
    if left:
        sentences.thinned(step, problem.message if problem is not None else step.because(leaving[0]), left)
        _delay_spare(step, lived)
        return Serving()
    no_failure = any(step.reason(tunnel) in _NO_FAILURE for tunnel in leaving)
    if problem is None or no_failure or step.outdated(last.endpoint.pod, last.renewed):
        return None
    return Loss(problem, last.endpoint, lived)


def _lived(step: Step, tunnel: TunnelRecord, problem: Problem | None) -> float:
    """Seconds for which it worked. A problem with a single connection does not count against it."""
    if problem is not None and problem.cause is Cause.STREAM and tunnel.proven:
        return HEALTHY
    return step.now - (tunnel.ready if tunnel.ready is not None else step.now)


def _delay_spare(step: Step, lived: float) -> None:
    """A start that failed beside serving tunnels uses up no attempt, but the next is delayed with backoff."""
    tries, pause = step.memory.spare_tries.lost(lived, step.chance)
    step.remember(spare_tries=tries, spare_at=step.now + (pause or 0.0))


def _keep_spare(step: Step) -> None:
    """With several children, one more is kept ready."""
    serving = step.all(TunnelState.SERVING)
    children = step.facts.settings.children
    wanted = children + 1 if children > 1 else 1
    starting = step.all(TunnelState.STARTING)
    if len(serving) >= wanted:
        for tunnel in starting:
            step.change(tunnel, TunnelTrigger.ENDED, Reason.SURPLUS)
    elif not starting and serving:
        if step.now >= step.memory.spare_at:
            step.start(serving[0].endpoint)
        else:
            step.at(step.memory.spare_at)
