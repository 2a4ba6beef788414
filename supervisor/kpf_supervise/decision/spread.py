"""The rules for the tunnels beside the first: how many there are, to which pods, and when one that was lost is
replaced. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from kpf_supervise.decision.facts import Incarnation, Pause
from kpf_supervise.decision.step import Step
from kpf_supervise.decision.tunnel_states import Endpoint, Reason, TunnelRecord, TunnelState, TunnelTrigger
from kpf_supervise.discovery.choice import remote_port
from kpf_supervise.model import Cause, ForwardError
from kpf_supervise.watching.pods import Pod

_STARTING, _SERVING = TunnelState.STARTING, TunnelState.SERVING


def keep_tunnels(step: Step) -> None:
    """While a tunnel serves."""
    if step.facts.settings.balance:
        to_each_pod(step)
    else:
        _keep_spare(step)


def _keep_spare(step: Step) -> None:
    """With several children, one more is kept ready: all on one pod, and one is started at a time."""
    serving = step.all(_SERVING)
    children = step.facts.settings.children
    starting = step.all(_STARTING)
    if len(serving) >= (children + 1 if children > 1 else 1):
        for tunnel in starting:
            step.change(tunnel, TunnelTrigger.ENDED, Reason.SURPLUS)
    elif not starting and serving and _pause_is_over(step, serving[0].incarnation):
        step.start(serving[0].endpoint)


def to_each_pod(step: Step, failed: Collection[Incarnation | None] = ()) -> None:
    """With `balance`, each ready pod has one tunnel, at most `children` pods at a time. A pod that has one keeps it.
    The other places go to the preferred ones of the rest, all at once. A pod whose tunnel was lost, or could not be
    started, gives its place to another while it pauses; but not before the next attempt if it `failed` while nothing
    serves."""
    if not step.facts.settings.balance:
        return
    taken = {*failed}
    for tunnel in step.all(_SERVING) + step.all(_STARTING):
        full = len(taken) >= step.facts.settings.children or tunnel.incarnation in taken
        if step.state(tunnel) is _STARTING and full:
            step.change(tunnel, TunnelTrigger.ENDED, Reason.SURPLUS)
        taken.add(tunnel.incarnation)
    taken |= {endpoint.incarnation for endpoint in step.starts}
    if None in taken:  # listing pods is forbidden: kubectl itself finds the one that was named
        return
    for pod in step.ready():
        if len(taken) >= step.facts.settings.children:
            return
        if pod.incarnation not in taken and _pause_is_over(step, pod.incarnation) and (to := _endpoint(step, pod)):
            taken.add(pod.incarnation)
            step.start(to)


def _endpoint(step: Step, pod: Pod) -> Endpoint | None:
    """None if it has no such port, as a pod of another version."""
    assert step.sight.where is not None
    try:
        return Endpoint(pod, f"pod/{pod.name}", remote_port(step.sight.where, pod, step.facts.settings.remote))
    except ForwardError:
        return None


def _pause_is_over(step: Step, pod: Incarnation | None) -> bool:
    pause = step.memory.pauses.get(pod, Pause())
    if step.now >= pause.until:
        return True
    step.at(pause.until)
    return False


def begin_pauses(step: Step, lost: Iterable[tuple[TunnelRecord, float]]) -> None:
    """These tunnels were lost beside others that serve, or start: that uses up no attempt, but the next one to the same
    pod is delayed with backoff. With each, the seconds for which it worked."""
    for pod, (tunnel, lived) in {each.incarnation: (each, lived) for each, lived in lost}.items():
        known = {each: pause for each, pause in step.memory.pauses.items() if each in step.pods}
        tries, pause = known.get(pod, Pause()).tries.lost(lived, step.chance)
        step.remember(pauses={**known, pod: Pause(tries, step.now + (pause or 0.0))})
        if tunnel.fault is not None and tunnel.fault.cause is Cause.REMOTE_REFUSED:
            step.refused(tunnel.endpoint.pod)


def end_pauses(step: Step, ready: Iterable[TunnelRecord]) -> None:
    """The pods of these tunnels are well: their next losses are counted anew."""
    well = {tunnel.incarnation for tunnel in ready}
    step.remember(pauses={pod: pause for pod, pause in step.memory.pauses.items() if pod not in well})
