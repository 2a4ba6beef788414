"""The cells of a table of forwards, for the panel and for `kpfctl list`. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
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


def declared_by(forward: dict[str, Any], file: str | None) -> str:
    """Who has it listed, in the instance of this file."""
    if forward["proxied"]:
        return "a client of the proxy, for as long as it is used"
    if not forward["declared"]:
        return "kpfctl or the panel, not the file"
    return "the file" if file else "the command line"


def lease(forward: dict[str, Any], now: float) -> str | None:
    """How long `kpfctl ensure` keeps it; None if it is kept without a lease. `now` is in seconds since the epoch."""
    if forward["leaseEnds"] is None:
        return None
    left = seconds_of(forward["leaseEnds"]) - now
    return f"ends in {age(left)}" if left > 0 else "ended; kept while it is in use"


def local(forward: dict[str, Any]) -> str:
    """`localhost:8080`, or a dash if the forward does not listen."""
    host = forward["address"]
    return f"{f'[{host}]' if ':' in host else host}:{forward['localPort']}" if forward["listening"] else NOTHING


def pods(forward: dict[str, Any]) -> str:
    """The pod that connections go to, or how many there are; empty if there is none."""
    several = len(forward["pods"])
    return f"{several} pods" if several > 1 else forward["pod"] or ""


def where(forward: dict[str, Any]) -> str | None:
    """All pods that connections go to, and their port."""
    return f"{', '.join(forward['pods'])}, port {forward['remotePort']}" if forward["pods"] else None


def reason(forward: dict[str, Any]) -> str:
    """Why the forward is not active, and the next step; empty if neither is known."""
    return ". ".join(filter(None, (forward["error"], forward["nextStep"])))


def seconds_of(moment: str) -> float:
    """Seconds since the epoch, from a time of the control protocol."""
    return datetime.fromisoformat(moment).timestamp()


def middle(text: str, width: int) -> str:
    """`text` in at most `width` characters: the middle of a longer one is left out, since its end often tells more."""
    if len(text) <= width:
        return text
    if width < 2:
        return "…"[:width]
    front = width // 2
    return f"{text[:front]}…{text[len(text) - (width - 1 - front) :]}"


def spark(values: Sequence[float], width: int) -> str:
    """The last `width` values as bars; the highest one fills its cell."""
    shown = list(values)[-width:]
    most = max(shown, default=0.0)
    if most < 1:
        return ""
    return "".join(_BARS[math.ceil(each / most * 8)] for each in shown)


_BARS = " ▁▂▃▄▅▆▇█"
