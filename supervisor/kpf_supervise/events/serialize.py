"""Serializes forwards and events for other programs: JSON objects on the control socket and in the log. Pure.

Each string is one line of printable text, whatever the API, kubectl or a kubeconfig contains.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from kpf_supervise.config.options import written
from kpf_supervise.model import Event, Forward, State, Status
from kpf_supervise.text import one_line


def moment(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds, from seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def port_forward(status: Status) -> dict[str, Any]:
    """A forward. A port that is not known is 0: the local port if any free port may be used and nothing listens yet,
    and the remote port if it has only a name and no pod was found yet."""
    forward, problem = status.forward, status.problem
    facts = {
        "id": forward.id,
        "resourceType": forward.target.kind,
        "name": forward.target.name,
        "namespace": status.namespace or forward.namespace or "",
        "localPort": status.port or forward.local or 0,
        "remotePort": forward.remote if isinstance(forward.remote, int) else status.remote or 0,
        "active": status.state is State.ACTIVE,
        "state": status.state.value,
        "since": moment(status.since),
        "target": str(forward.target),
        "remote": str(forward.remote),
        "address": forward.address,
        "listening": status.port is not None,
        "pod": status.pod,
        "pods": [one_line(pod) for pod in status.pods],
        "command": status.command,
        "context": status.context or forward.cluster.context,
        "restarts": status.restarts,
        "error": problem.message if problem else None,
        "cause": problem.cause.value if problem else None,
        "final": status.hopeless,
        "attempt": status.attempt,
        "attempts": status.attempts,
        "retryAt": moment(status.retry_at) if status.retry_at is not None else None,
        "nextStep": (problem.next_step or None) if problem else None,
        "connections": status.connections,
        "held": status.held,
        "bytesIn": status.bytes_in,
        "bytesOut": status.bytes_out,
        "notify": forward.notify,
        "lazy": forward.lazy,
        "enabled": forward.enabled,
        "proxied": forward.proxied,
        "declared": status.declared,
        "groups": list(forward.groups),
        "leaseEnds": moment(status.lease) if status.lease is not None else None,
    }
    return _clean(facts)


def description(status: Status, defaults: Forward) -> dict[str, Any]:
    """More of one forward: its options as the file would declare them, the names of those that differ from `defaults`,
    and its open connections."""
    settings, plain = _clean(written(status.forward)), _clean(written(defaults))
    own = [
        name for name in settings if name not in ("target", "selector", "ports") and settings[name] != plain.get(name)
    ]
    opened = [
        {
            "peer": each.peer,
            "since": moment(each.since),
            "held": each.held,
            "bytesIn": each.bytes_in,
            "bytesOut": each.bytes_out,
        }
        for each in status.open
    ]
    return {"settings": settings, "own": own, "connections": opened}


def event(event: Event) -> dict[str, Any]:
    """An event, without the fields that do not apply."""
    facts = {
        "time": moment(event.time),
        "forward": event.forward,
        "event": event.kind,
        "message": event.message,
        "state": event.state,
        "cause": event.cause,
        "pod": event.pod,
        "port": event.port,
        "attempt": event.attempt,
        "attempts": event.attempts,
        "delay": event.delay,
        "traceback": list(event.traceback) or None,
    }
    return _clean({name: value for name, value in facts.items() if value is not None})


def _clean(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: one_line(value) if isinstance(value, str) else value for name, value in facts.items()}


def line(facts: dict[str, Any]) -> str:
    """An event for people: `21:04:30 web/http         active        localhost:8080 → …`, in local time."""
    clock = datetime.fromisoformat(facts["time"]).astimezone().strftime("%H:%M:%S")
    return f"{clock} {facts.get('forward') or '-':<16} {facts['event']:<13} {facts['message']}"
