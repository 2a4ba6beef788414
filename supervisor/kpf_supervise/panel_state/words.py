"""What the panel says in words: an event, the details of a forward, its last event, the head line. Pure.

Everything is a list of (text, look) pieces, never markup: text from outside can't change how it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from kpf_supervise.config.options import written
from kpf_supervise.model import TEMPLATE
from kpf_supervise.panel_state.cells import age, amount, declared_by, lease, local, middle, reason, seconds_of, where
from kpf_supervise.panel_state.columns import LOOKS, retry
from kpf_supervise.panel_state.state import Event, Forward, View, counts

Pieces = list[tuple[str, str]]

_EVENT_LOOKS = LOOKS | {"active": "green", "moved": "green", "notice": "cyan", "kubectl": "dim", "stopped": ""}
_PLAIN = written(TEMPLATE)
_RESTARTS = ("moved", "reconnecting", "waiting", "failed")
_REASONS = 5  # that the details show
_SHOWN = 20  # connections that the details show


def clock(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone().strftime("%H:%M:%S")


def event_line(event: Event, most: int = 100) -> Pieces:
    """`21:04:30 web/http  active  …`, then the traceback of a bug. A name has at most so many characters."""
    kind = event["event"]
    pieces = [
        (f"{clock(event['time'])} ", "dim"),
        (f"{middle(event.get('forward') or '-', most):<16} ", "bold"),
        (f"{kind:<13} ", _EVENT_LOOKS.get(kind, "")),
        (event["message"], "red" if kind == "failed" else ""),
    ]
    return pieces + [(f"\n{line}", "dim") for line in event.get("traceback", ())]


def head(view: View, width: int) -> Pieces:
    """The first line: what is shown on the left, how many are in which state on the right."""
    right: Pieces = []
    for state, count in counts(view.forwards.values()).items():
        right += [(" · ", "")] * bool(right) + [(f"{count} {state}", LOOKS[state])]
    contexts = {each["context"] for each in view.forwards.values()} - {None}
    names = [view.title, *(contexts if len(contexts) == 1 else ())]
    left = " · ".join(["kpf-supervise", *filter(None, names)])
    room = width - sum(len(text) for text, _ in right) - 2
    if len(left) > room:
        left = left[: max(room - 1, 0)] + "…"
    return [(left, "bold"), (" " * max(room + 2 - len(left), 1), ""), *right]


def note(view: View, forward: Forward | None) -> Pieces:
    """The selected forward's error with its next step, and its last event."""
    if forward is None:
        return []
    pieces: Pieces = []
    if forward["error"]:
        pieces = [(f"{forward['id']}: ", "bold"), (reason(forward), "red")]
    last = view.last.get(forward["id"])
    if last is not None and (forward["error"] or "\n") not in last["message"]:
        pieces += [("\n", "")] * bool(pieces) + event_line(last)
    return pieces


def details(forward: Forward, described: dict[str, Any], log: Iterable[Event], now: float, file: str) -> Pieces:
    """All that is known of a forward. `described` is the answer of `describe`, empty until it is there; `file` that of
    the instance, if it has one."""
    each = forward
    events = list(log)
    connections = described.get("connections", [])
    facts: dict[str, Any] = {
        "state": (f"{each['state']}{retry(each, now)}", LOOKS[each["state"]]),
        "since": f"{clock(each['since'])}, {age(now - seconds_of(each['since']))} ago",
        "cause": each["error"] and f"{each['error']} ({each['cause']})",
        "next step": each["nextStep"],
        "local": local(each),
        "target": f"{each['target']}, port {each['remote']}",
        "pod": where(each),
        "namespace": each["namespace"] or None,
        "context": each["context"],
        "declared by": declared_by(each, file),
        "lease": lease(each, now),
        "settings": "\n".join(_changed(described.get("settings", {}))),
        "traffic": f"{amount(each['bytesIn'])} in, {amount(each['bytesOut'])} out",
        "connections": f"{each['connections']} open, {each['held']} held",
        "": "\n".join(_connection(known, now) for known in connections[:_SHOWN]),
        "restarts": "\n".join([str(each["restarts"]), *_restarts(events)]),
        "kubectl": each["command"],
        "it said": "\n".join(known["message"] for known in events if known["event"] == "kubectl") or None,
    }
    pieces: Pieces = []
    for name, value in facts.items():
        if value:
            text, look = value if isinstance(value, tuple) else (value, "")
            lines = text.splitlines()
            pieces.append((f"{name:<12} ", "bold"))
            pieces += [(f"{line}\n" if at == 0 else f"{'':<13}{line}\n", look) for at, line in enumerate(lines)]
    return pieces


def _changed(settings: dict[str, Any]) -> Iterable[str]:
    """The settings that differ from the built-in defaults and stand nowhere else in the details."""
    for name, value in settings.items():
        if name not in ("target", "selector", "ports", "namespace", "context") and _PLAIN.get(name) != value:
            yield f"{name}: {_written(value)}"


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(value)
    return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _connection(facts: dict[str, Any], now: float) -> str:
    held = ", held" if facts["held"] else ""
    old = age(now - seconds_of(facts["since"]))
    return f"{facts['peer']}, {old} old, {amount(facts['bytesIn'])} in, {amount(facts['bytesOut'])} out{held}"


def _restarts(events: Iterable[Event]) -> list[str]:
    """The last reasons why its kubectl was replaced."""
    known = [each for each in events if each["event"] in _RESTARTS]
    return [f"{clock(each['time'])} {each['event']}: {each['message']}" for each in known[-_REASONS:]]


def mistakes(view: View) -> Pieces:
    """What is wrong in the file, whole."""
    if not view.mistakes:
        return []
    lines = "\n".join(view.mistakes)
    return [("The file is wrong, and was not applied. E opens it.\n", "bold red"), (lines, "red")]


EMPTY = """No forwards yet.

n   begins one: choose it from the cluster
E   opens the file; saving it applies it
?   shows all keys"""
