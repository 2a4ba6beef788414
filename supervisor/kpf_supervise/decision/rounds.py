"""The rules for the forward as a whole: when it looks for a pod, starts a tunnel, waits, tries again and gives up. Each
function is one phase; it returns the phase that follows, which may be the same. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from kpf_supervise.decision import early, sentences, sign_in
from kpf_supervise.decision.facts import (
    Asking,
    Beginning,
    CheckApi,
    Failed,
    Look,
    Looking,
    Loss,
    Outage,
    Pausing,
    Phase,
    Reread,
    Resting,
    Serving,
    Starting,
    Waiting,
)
from kpf_supervise.decision.serving import serving
from kpf_supervise.decision.spread import begin_pauses, end_pauses, to_each_pod
from kpf_supervise.decision.step import Step
from kpf_supervise.decision.tunnel_states import Endpoint, Reason, TunnelState, TunnelTrigger
from kpf_supervise.discovery.choice import remote_port, untranslated
from kpf_supervise.model import FINAL, LOGIN, OUTAGE, Cause, ForwardError, Problem, State
from kpf_supervise.primitives.backoff import delay

_REREAD = (5.0, 30.0)  # seconds between two reads of a target that has no ready pod: first, longest
_LONGEST_REST = 5.0  # seconds at most between the rounds that clients of a failed forward start
_CHAIN = 20  # phases that can follow one another in one decision; more is a bug


def forward(step: Step) -> None:
    """Go from phase to phase until the facts give no reason to go on."""
    if step.facts.restarts != step.memory.restarts:
        _restart(step)
    for _ in range(_CHAIN):
        before = step.memory.phase
        after = _PHASES[type(before)](step, before)
        if isinstance(after, Loss):
            after = _lost(step, after)
        step.remember(phase=after)
        if after == before:
            break
    else:
        raise AssertionError(f"no phase holds: {step.memory.phase}")
    phase = step.memory.phase
    if not isinstance(phase, Starting | Serving):
        for tunnel in step.all(TunnelState.STARTING):
            if not (tunnel.early and isinstance(phase, Looking | Waiting)):
                step.change(tunnel, TunnelTrigger.ENDED, Reason.SURPLUS)
    sign_in.waits_for_it(step)


def _restart(step: Step) -> None:
    """The user wants a fresh kubectl and all attempts. Connections through the old one end."""
    for tunnel in step.all(TunnelState.STARTING, TunnelState.SERVING, TunnelState.SUSPECT):
        step.change(tunnel, TunnelTrigger.ENDED, Reason.RESTARTED)
    step.take_stopped()
    step.failed = []
    tries = replace(step.memory.tries, made=0)
    step.remember(restarts=step.facts.restarts, tries=tries, failed_rounds=0, stale=True)
    sentences.restarted(step)
    step.remember(phase=_look(step))


def _look(step: Step) -> Phase:
    """Find out anew which pod is to be used. A lazy forward rests until a client comes."""
    if step.facts.settings.lazy and not step.facts.clients:
        sentences.resting(step)
        if not step.sight.looking:
            step.actions.append(Look())  # the first client then waits for kubectl only
        return Resting()
    sight = step.sight
    if sight.where is not None and not step.memory.stale and not sight.denied:
        return Waiting(reread_at=step.now)
    if step.forward_state is State.ACTIVE:
        sentences.looking(step)
    return Looking(sight.looks + (2 if sight.looking and step.memory.stale else 1))


def _beginning(step: Step, phase: Beginning) -> Phase:
    if step.forward_state is State.STOPPED and (step.facts.clients or not step.facts.settings.lazy):
        sentences.looking(step)
    return _look(step)


def _resting(step: Step, phase: Resting) -> Phase:
    return _look(step) if step.facts.clients else phase


def _looking(step: Step, phase: Looking) -> Phase | Loss:
    sight = step.sight
    if sight.cut_off and sight.problem is not None:
        return Loss(sight.problem)
    if sight.looks < phase.after:
        if not sight.looking:
            step.actions.append(Look(again=step.memory.stale, pod=phase.pod))
        early.start(step)
        return phase
    if sight.failure is not None:
        return Loss(sight.failure)
    step.remember(stale=False)
    return Waiting(reread_at=step.now + delay(*_REREAD, 0, step.chance), readings=1, asked=phase.pod)


def _waiting(step: Step, phase: Waiting) -> Phase | Loss:
    """Until the target has a ready pod. Its object is read again from time to time: it may select other pods by now,
    and no event reports that."""
    sight, settings = step.sight, step.facts.settings
    if sight.problem is not None:
        return Loss(sight.problem)
    if sight.blind:
        if settings.target.kind == "selector":
            return Loss(Problem(Cause.FORBIDDEN, "a selector needs the right to list pods"))
        return _start(step, Endpoint(None, str(settings.target), settings.remote))
    if not sight.listed:
        return phase
    choice = sight.choose(step.memory.pod, step.memory.family)
    step.remember(family=choice.family)
    if choice.pod is not None:
        if early.undecided(step):
            return phase
        pod = early.agreed(step) or choice.pod
        assert sight.where is not None
        try:
            remote = remote_port(sight.where, pod, settings.remote)
        except ForwardError as error:
            return Loss(error.problem)
        return _start(step, Endpoint(pod, f"pod/{pod.name}", remote))
    if choice.missing and not phase.asked:
        return Looking(sight.looks + 1, pod=True)
    if sight.denied:
        return Loss(sight.none_ready(choice.reason))
    early.drop(step)
    reason = sight.gone or choice.reason
    new = (sight.gone or choice.stuck) and reason != phase.said
    if not phase.said or new or (phase.was_gone and not sight.gone):
        sentences.no_pod(step, reason)
        phase = replace(phase, said=reason)
    phase = replace(phase, was_gone=bool(sight.gone), asked=phase.asked and choice.missing)
    if step.now >= phase.reread_at:
        step.actions.append(Reread())
        at = step.now + delay(*_REREAD, phase.readings, step.chance)
        phase = replace(phase, reread_at=at, readings=phase.readings + 1)
    step.at(phase.reread_at)
    return phase


def _start(step: Step, endpoint: Endpoint) -> Phase:
    sentences.starting(step, endpoint)
    step.remember(left=sentences.why_left(step, endpoint), pod=endpoint.pod)
    if not early.adopt(step, endpoint) and not step.all(TunnelState.STARTING):  # else one beside it is used now
        step.start(endpoint)
    return Starting()


def _starting(step: Step, phase: Starting) -> Phase | Loss:
    ready = step.all(TunnelState.SERVING)
    if ready:
        sentences.starting(step, ready[-1].endpoint)  # where it was told that it waits for a sign-in
        sentences.ready(step, ready[-1])
        step.remember(served=ready[-1].endpoint.pod, left=None, retired="", failed_rounds=0)
        end_pauses(step, ready)
        return Serving()
    failed, step.failed = step.failed, []
    begin_pauses(step, [(tunnel, 0.0) for tunnel in failed])
    phase = Starting(phase.failed | {tunnel.incarnation for tunnel in failed})
    to_each_pod(step, phase.failed)
    if failed and not step.starts and not step.all(TunnelState.STARTING):
        assert failed[-1].fault is not None
        return Loss(failed[-1].fault, failed[-1].endpoint)
    if not step.starts and not step.all(TunnelState.STARTING):  # its pod was replaced meanwhile, which is no failure
        return _look(step)
    return phase


def _serving(step: Step, phase: Serving) -> Phase | Loss:
    return serving(step, phase) or _look(step)


def _lost(step: Step, loss: Loss) -> Phase:
    """If the API server may be the cause, the watch finds that out for all forwards: an outage uses up no attempts."""
    step.remember(stale=True)
    sight, cause = step.sight, loss.problem.cause
    blind = loss.endpoint is None and cause not in FINAL
    expired = cause in LOGIN and not step.memory.failed_rounds  # the watch may not know yet
    if sight.cut_off or ((blind or expired or cause in OUTAGE) and sight.watched and not sight.denied):
        if sight.problem is None:
            step.actions.append(CheckApi())
        return Asking(loss, sight.listed)
    return _retry(step, loss)


def _asking(step: Step, phase: Asking) -> Phase:
    sight = step.sight
    if sight.outage:
        sentences.outage(step, phase.loss.problem)
        return Outage()
    if sight.problem is not None or sight.denied or sight.listed != phase.listed:
        return _retry(step, phase.loss)
    return phase


def _outage(step: Step, phase: Outage) -> Phase:
    if step.all(TunnelState.SERVING):
        sentences.resumed(step)
        return Serving()
    if step.sight.outage:
        return phase
    step.remember(tries=replace(step.memory.tries, made=0))
    return _look(step)


def _retry(step: Step, loss: Loss) -> Phase:
    """Use up an attempt, or give up."""
    if loss.endpoint is not None and loss.problem.cause is Cause.REMOTE_REFUSED:
        step.refused(loss.endpoint.pod)
        better = untranslated(step.sight.where, loss.endpoint.pod, step.facts.settings.remote)
        loss = replace(loss, problem=replace(loss.problem, next_step=better or loss.problem.next_step))
    if loss.problem.cause in FINAL:
        return _give_up(step, loss.problem)
    tries, pause = step.memory.tries.lost(loss.lived, step.chance)
    if pause is None:
        return _give_up(step, loss.problem)
    step.remember(tries=tries)
    sentences.pausing(step, loss.problem, pause, tries.made)
    return Pausing(step.now + pause, step.sight.listed)


def _pausing(step: Step, phase: Pausing) -> Phase:
    """A change of the pod to use, or a new list of pods, ends the pause early."""
    pod = step.memory.pod
    other = pod is not None and step.moved_on(pod)
    if step.now >= phase.until or other or step.sight.listed != phase.listed:
        return _look(step)
    step.at(phase.until)
    return phase


def _give_up(step: Step, problem: Problem) -> Phase:
    sentences.failed(step, problem)
    rounds = step.memory.failed_rounds
    rest = delay(step.facts.settings.reconnect.initial, _LONGEST_REST, rounds, step.chance)
    step.remember(failed_rounds=rounds + 1, tries=replace(step.memory.tries, made=0))
    return Failed(
        closes=problem.cause in FINAL or problem.cause is Cause.REMOTE_REFUSED,
        arrived=step.facts.arrived,
        listed=step.sight.listed,
        usable=step.sight.usable(step.memory.family),
        rested=step.now + rest,
    )


def _failed(step: Step, phase: Failed) -> Phase:
    """Wait for a possible fix: a pod becomes ready, the API server answers again, or a client waits. There is a pause
    between rounds, to avoid a storm of attempts."""
    new_pod = not step.sight.usable(step.memory.family) <= phase.usable
    called = step.facts.arrived > phase.arrived or (bool(step.facts.held) and not phase.closes)
    hope = new_pod or called or step.sight.listed != phase.listed
    if (new_pod and step.sight.where is not None) or (hope and step.now >= phase.rested):
        return _look(step)
    if hope:
        step.at(phase.rested)
    return phase


_PHASES: Mapping[type[Phase], Callable[[Step, Any], Phase | Loss]] = MappingProxyType(
    {
        Beginning: _beginning,
        Resting: _resting,
        Looking: _looking,
        Waiting: _waiting,
        Starting: _starting,
        Serving: _serving,
        Asking: _asking,
        Outage: _outage,
        Pausing: _pausing,
        Failed: _failed,
    }
)
