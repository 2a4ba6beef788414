"""The cells of a table of forwards, for the panel and for `kpfctl list`. Pure."""

from __future__ import annotations

from typing import Any

NOTHING = "–"


def age(seconds: float) -> str:
    """As kubectl prints it: 5s, 3m12s, 12m, 2h5m, 9h, 4d."""
    whole = max(int(seconds), 0)
    for unit, letter, less, lesser, below in (
        (86400, "d", 3600, "h", 3),
        (3600, "h", 60, "m", 8),
        (60, "m", 1, "s", 10),
    ):
        if whole >= unit:
            count, rest = divmod(whole, unit)
            return f"{count}{letter}{rest // less}{lesser}" if count < below and rest >= less else f"{count}{letter}"
    return f"{whole}s"


def amount(count: float) -> str:
    """Bytes: 0, 999, 1.5k, 20M, 3.1G; 1k is 1000 bytes."""
    for unit in ("", "k", "M", "G"):
        if count < 999.5:
            return f"{count:.1f}{unit}" if unit and count < 9.95 else f"{count:.0f}{unit}"
        count /= 1000
    return f"{count:.1f}T"


def local(forward: dict[str, Any]) -> str:
    """`localhost:8080`, or a dash if the forward does not listen."""
    host = forward["address"]
    return f"{f'[{host}]' if ':' in host else host}:{forward['localPort']}" if forward["listening"] else NOTHING


def reason(forward: dict[str, Any]) -> str:
    """Why the forward is not active, and the next step; empty if neither is known."""
    return ". ".join(filter(None, (forward["error"], forward["nextStep"])))
