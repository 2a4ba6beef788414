"""The rules for each client that waits: which tunnel it is given, how long it is held, and when it is let go. Pure."""

from __future__ import annotations

from kpf_supervise.counters import Unserved
from kpf_supervise.decision.facts import Admit, Failed, HeldClient, LetGo, Resting, Waiting
from kpf_supervise.decision.step import Step
from kpf_supervise.decision.tunnel_states import Reason, TunnelRecord, TunnelState

_FALLBACK = 1.0  # seconds of holding after which the tunnel on the old pod is used (a start takes 0.1)
_NOTICE = 0.005  # seconds in which the abort of an earlier client is noticed


def held_clients(step: Step) -> None:
    """A client gets the serving tunnel with the fewest connections, among the first `children` of them: those beyond
    are spares. Of several with as few, it is the one that has not been given a client for longest. While no tunnel
    serves, it is held for `hold` seconds."""
    serving = step.all(TunnelState.SERVING)[: step.facts.settings.children]
    old = fallback(step)
    load = {tunnel: (tunnel.connections, tunnel.newest) for tunnel in serving}
    may_wedge = any(tunnel.wedges and tunnel.connections for tunnel in serving)
    for client in step.facts.held:
        if may_wedge and step.now < client.since + _NOTICE:
            step.at(client.since + _NOTICE)
        elif serving:
            tunnel = min(serving, key=load.__getitem__)
            load[tunnel] = (load[tunnel][0] + 1, client.number)
            step.actions.append(Admit(client, tunnel))
        elif _is_closed(step, client):
            step.actions.append(LetGo(client, Unserved.FAILED))
        elif step.now >= client.since + step.facts.settings.hold:
            step.actions.append(LetGo(client, Unserved.HOLD_OVER))
        elif old is not None and step.now >= client.since + _FALLBACK:
            step.actions.append(Admit(client, old))
        else:
            step.at(client.since + step.facts.settings.hold)
            if old is not None:
                step.at(client.since + _FALLBACK)


def _is_closed(step: Step, client: HeldClient) -> bool:
    """Whether it waits for a forward that has failed since, and that another attempt would not help."""
    phase = step.memory.phase
    return isinstance(phase, Failed) and phase.closes and client.number <= phase.arrived


def fallback(step: Step) -> TunnelRecord | None:
    """The tunnel on the old pod, while no tunnel serves on the next one: the old pod is about to go, but still runs. It
    is for clients that have been held for a second. Without a next pod there is none: the old one is not ready."""
    if step.all(TunnelState.SERVING) or step.sight.cut_off or isinstance(step.memory.phase, Resting | Waiting):
        return None
    old = [tunnel for tunnel in step.all(TunnelState.RETIRING) if step.reason(tunnel) is Reason.MOVED]
    usable = [
        tunnel
        for tunnel in old
        if tunnel.fault is None and tunnel.renewed == step.sight.renewed and step.sight.lingers(tunnel.endpoint.pod)
    ]
    return min(usable, key=lambda tunnel: tunnel.connections, default=None)
