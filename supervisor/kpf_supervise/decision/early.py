"""The tunnel that is started before any pod is known: kubectl chooses a pod of the target while the pods are being
listed, and tells which. It serves once the listing agrees, else it is dropped for the right one. Pure."""

from __future__ import annotations

from kpf_supervise.decision.facts import Adopt
from kpf_supervise.decision.step import Step
from kpf_supervise.decision.tunnel_states import Endpoint, Reason, TunnelRecord, TunnelState, TunnelTrigger
from kpf_supervise.discovery.choice import STATEFUL
from kpf_supervise.watching.pods import Pod


def start(step: Step) -> None:
    """Once for each forward, as soon as its cluster and namespace are known. Not where kubectl runs a program for its
    credentials: each kubectl would open a window of its own, and after the first sign-in most of them open none."""
    sight, target = step.sight, step.facts.settings.target
    unknown = sight.watched and not sight.listed and not sight.denied and sight.problem is None and not sight.signs_in
    if step.memory.early or not unknown or target.kind == "selector" or step.all(TunnelState.STARTING):
        return
    # of a stateful set the lowest ordinal is wanted
    what = f"pod/{target.name}-0" if target.kind == "statefulset" else str(target)
    step.remember(early=True)
    step.start(Endpoint(None, what, step.facts.settings.remote), early=True)


def undecided(step: Step) -> bool:
    """Whether kubectl is about to tell which pod it has chosen."""
    early = _early(step)
    return early is not None and not early.went_to


def agreed(step: Step) -> Pod | None:
    """The pod that it has chosen, if it may be used: ready, not terminating, of this target, and of a stateful set the
    lowest ordinal."""
    early = _early(step)
    pod = step.sight.pods.named(early.went_to) if early is not None else None
    if pod is None or step.sight.choose(pod, step.memory.family).pod != pod:
        return None
    best = step.sight.choose(None, step.memory.family).pod
    stateful = best is not None and best.family is not None and best.family[0] == STATEFUL
    return None if stateful and pod != best else pod


def adopt(step: Step, endpoint: Endpoint) -> bool:
    """Use it for this endpoint, or drop it if it leads elsewhere."""
    early = _early(step)
    if early is None:
        return False
    if endpoint.pod is not None and endpoint.pod.name != early.went_to:
        drop(step)
        return False
    step.actions.append(Adopt(early, endpoint))
    step.at(step.now)
    return True


def drop(step: Step) -> None:
    early = _early(step)
    if early is not None:
        step.change(early, TunnelTrigger.ENDED, Reason.SURPLUS)


def _early(step: Step) -> TunnelRecord | None:
    return next((tunnel for tunnel in step.all(TunnelState.STARTING) if tunnel.early), None)
