"""The rules for a forward while tunnels serve: what it means that some stop, how many are kept, and when the last one
is closed because nobody needs it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kpf_supervise.decision import sentences
from kpf_supervise.decision.facts import Look, Loss, Serving
from kpf_supervise.decision.spread import begin_pauses, keep_tunnels
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
        fewer = _fewer(step, leaving)
        if not isinstance(fewer, Serving):
            return fewer
    failed, step.failed = step.failed, []
    begin_pauses(step, [(tunnel, 0.0) for tunnel in failed])
    keep_tunnels(step)
    sentences.spread(step)
    return Serving()


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
    faulty = next((tunnel for tunnel in leaving if tunnel.fault is not None), leaving[0])
    problem = faulty.fault
    if problem is not None and problem.cause in _ALL_OF_THEM:
        for tunnel in step.all(TunnelState.SERVING):
            if tunnel.incarnation == faulty.incarnation:
                step.change(tunnel, TunnelTrigger.RETIRED, Reason.FAULT)
        leaving = (*leaving, *step.take_stopped())
    last = leaving[-1]
    step.remember(retired=step.because(last))
    if step.all(TunnelState.SERVING):
        sentences.thinned(step, faulty, leaving)
        begin_pauses(step, [(tunnel, _lived(step, tunnel, tunnel.fault)) for tunnel in leaving])
        if step.sight.denied and not step.sight.looking:
            step.actions.append(Look())  # no event tells which pods there are now
        return Serving()
    lived = _lived(step, last, problem)
    no_failure = any(step.reason(tunnel) in _NO_FAILURE for tunnel in leaving)
    if problem is None or no_failure or step.outdated(last.endpoint.pod, last.renewed):
        return None
    return Loss(problem, last.endpoint, lived)


def _lived(step: Step, tunnel: TunnelRecord, problem: Problem | None) -> float:
    """Seconds for which it worked. A problem with a single connection does not count against it."""
    if problem is not None and problem.cause is Cause.STREAM and tunnel.proven:
        return HEALTHY
    return step.now - (tunnel.ready if tunnel.ready is not None else step.now)
