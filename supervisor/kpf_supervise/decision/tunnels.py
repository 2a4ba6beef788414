"""The rules for each tunnel: when it serves, when it stops serving and why, and when it ends. Pure."""

from __future__ import annotations

from kpf_supervise.decision.clients import fallback
from kpf_supervise.decision.facts import CheckTunnel, Forget, Notice, Outage, Resting, Serving, Starting
from kpf_supervise.decision.step import Step
from kpf_supervise.decision.tunnel_states import Check, Reason, TunnelRecord, TunnelState, TunnelTrigger
from kpf_supervise.model import Cause

SETTLE = 0.2  # seconds in which kubectl says why it lost its connection, and ends
_STALL = 0.1  # seconds; a client that blocks its kubectl for longer delays the other connections there
_GONE_GRACE = 3.0  # seconds that connections are kept after their pod is gone; a real tunnel ends them itself
_STALLED = 8  # kubectls per forward, at most, that are kept for clients that read nothing

_STARTING, _SERVING, _SUSPECT, _RETIRING, _ENDED = TunnelState


def starting_tunnels(step: Step) -> None:
    """A tunnel serves once kubectl forwards. If its pod is no longer the one to use before that, it is ended, and that
    is no failure."""
    for tunnel in step.all(_STARTING):
        if step.outdated(tunnel.endpoint.pod, tunnel.renewed):
            step.change(tunnel, TunnelTrigger.ENDED, Reason.MOVED)
        elif tunnel.fault is not None:
            step.change(tunnel, TunnelTrigger.ENDED, Reason.FAULT)
            step.failed += [tunnel] * (not tunnel.early)
        elif tunnel.ready is not None and not tunnel.early:
            step.change(tunnel, TunnelTrigger.READY)
            step.remember(refused=step.memory.refused - {tunnel.incarnation})


def serving_tunnels(step: Step) -> None:
    """A tunnel stops serving at the first sign that new connections are better off elsewhere. One that was suspected
    because something was missing serves again if that comes before a fresh tunnel is ready."""
    if not step.all(_SERVING):
        for tunnel in step.all(_SUSPECT):
            if _cleared(step, tunnel) and tunnel.fault is None:
                step.change(tunnel, TunnelTrigger.CLEARED)
    for tunnel in step.all(_SERVING):
        if tunnel.exited is not None:
            step.change(tunnel, TunnelTrigger.ENDED, Reason.FAULT)
        elif tunnel.renewed != step.sight.renewed:
            step.change(tunnel, TunnelTrigger.SUSPECTED, Reason.RENEWED, step.sight.why_renewed)
        elif step.sight.cut_off:
            step.change(tunnel, TunnelTrigger.SUSPECTED, Reason.CUT_OFF, "nothing came from the API server any more")
        elif step.moved_on(tunnel.endpoint.pod):
            step.change(tunnel, TunnelTrigger.RETIRED, Reason.MOVED)
        elif tunnel.said is not None:
            may_be_dead = tunnel.said.cause in (Cause.LOST, Cause.STALLED)
            step.change(tunnel, TunnelTrigger.SUSPECTED if may_be_dead else TunnelTrigger.RETIRED, Reason.FAULT)
        elif tunnel.unanswered is not None:
            why = f"nothing has come back for {tunnel.unanswered:g} s, as from a dead tunnel"
            step.change(tunnel, TunnelTrigger.SUSPECTED, Reason.SILENT, why)
        elif tunnel.broken_off:
            step.change(tunnel, TunnelTrigger.RETIRED, Reason.WEDGED, Reason.WEDGED.value)
        elif step.facts.held and tunnel.stalled(step.now) > _STALL:
            step.change(tunnel, TunnelTrigger.RETIRED, Reason.STALLED, Reason.STALLED.value)


def _cleared(step: Step, tunnel: TunnelRecord) -> bool:
    """Whether the answer that it owed has come; or the API server answers again, but can't list pods: 401, 403, 5xx."""
    if step.reason(tunnel) is Reason.SILENT:
        return isinstance(step.memory.phase, Starting) and tunnel.unanswered is None
    lost_line = step.reason(tunnel) is Reason.CUT_OFF and tunnel.renewed == step.sight.renewed
    return lost_line and not step.sight.cut_off and isinstance(step.memory.phase, Outage)


def draining_tunnels(step: Step) -> None:
    """A tunnel that no longer serves keeps its connections until they end or can no longer work. A suspect one is
    checked once a fresh one has reached the pod: one that does not answer is ended, so that its clients learn it."""
    spared = fallback(step)
    serving = step.all(_SERVING)
    for tunnel in step.all(_SUSPECT, _RETIRING):
        if tunnel.exited is not None:
            step.change(tunnel, TunnelTrigger.ENDED, Reason.FAULT)
        elif not tunnel.connections and tunnel is not spared and not settling(step, tunnel) and not _kept(step, tunnel):
            step.change(tunnel, TunnelTrigger.ENDED, Reason.DRAINED)
        elif _pod_gone_for(step, tunnel) >= _GONE_GRACE:
            step.change(tunnel, TunnelTrigger.ENDED, Reason.POD_GONE)
        elif step.state(tunnel) is _SUSPECT:
            _suspect(step, tunnel, bool(serving))
        elif tunnel.renewed != step.sight.renewed and tunnel is not spared:
            step.change(tunnel, TunnelTrigger.SUSPECTED, Reason.RENEWED, step.sight.why_renewed)
    _crowded(step)


def _kept(step: Step, tunnel: TunnelRecord) -> bool:
    """Whether it is to serve again if the line turns out to be alive."""
    cut_off = step.sight.cut_off and step.reason(tunnel) is Reason.CUT_OFF
    return cut_off and not isinstance(step.memory.phase, Resting)


def _suspect(step: Step, tunnel: TunnelRecord, fresh_serves: bool) -> None:
    if step.reason(tunnel) is Reason.SILENT and tunnel.unanswered is None:
        step.change(tunnel, TunnelTrigger.RETIRED)  # the answer has come too late to serve again
    elif tunnel.said is not None and tunnel.said.cause is Cause.LOST:
        if not settling(step, tunnel):
            step.change(tunnel, TunnelTrigger.RETIRED)
    elif tunnel.check is Check.DEAD and not tunnel.blocked:  # if a client reads nothing, the check proves nothing
        step.change(tunnel, TunnelTrigger.ENDED, Reason.DEAD)
    elif tunnel.check in (Check.ALIVE, Check.DEAD):
        step.change(tunnel, TunnelTrigger.RETIRED)
    elif tunnel.check is Check.NOT_MADE and fresh_serves:
        step.actions.append(CheckTunnel(tunnel, step.sight.renewed))


def settling(step: Step, tunnel: TunnelRecord) -> bool:
    """Whether it has lost its connection just now, so that kubectl is about to say why, and to end."""
    said = tunnel.said
    if said is None or said.cause is not Cause.LOST or tunnel.exited is not None:
        return False
    if step.now >= tunnel.said_at + SETTLE:
        return False
    step.at(tunnel.said_at + SETTLE)
    return True


def _pod_gone_for(step: Step, tunnel: TunnelRecord) -> float:
    """Seconds since its pod was seen to be gone."""
    if not step.sight.is_gone(tunnel.endpoint.pod):
        return 0.0
    gone = step.memory.gone
    since = gone.get(tunnel, step.now)
    if tunnel not in gone:
        step.remember(gone={**gone, tunnel: since})
    step.at(since + _GONE_GRACE)
    return step.now - since


def _crowded(step: Step) -> None:
    """Each client that reads nothing takes a kubectl of its own. Beyond _STALLED kubectls, the one that has waited
    longest for its client ends, and its connections."""
    stalled = [tunnel for tunnel in step.all(_SUSPECT, _RETIRING) if tunnel.blocked]
    stalled.sort(key=lambda tunnel: -tunnel.stalled(step.now))
    for tunnel in stalled[: max(len(stalled) - _STALLED, 0)]:
        step.actions.append(
            Notice(
                f"{step.facts.settings.id}: more than {_STALLED} clients read nothing, and each takes a kubectl: the "
                "connections through the one that has waited longest "
                f"({tunnel.stalled(step.now):.0f} s) are ended"
            )
        )
        step.change(tunnel, TunnelTrigger.ENDED, Reason.CROWDED)


def ended_tunnels(step: Step) -> None:
    """Nothing more is to be decided about an ended tunnel, unless kubectl's last words are still awaited."""
    phase = step.memory.phase
    kept = phase.leaving if isinstance(phase, Serving) else ()
    for tunnel in step.all(_ENDED):
        if tunnel not in kept:
            step.actions.append(Forget(tunnel))
            if tunnel in step.memory.gone:
                step.remember(gone={each: at for each, at in step.memory.gone.items() if each is not tunnel})
