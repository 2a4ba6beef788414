"""Decides which events are worth a bell or a desktop notification: lost, back, failed. Many events of one forward are
summarized.

Pure: the caller passes the time, in seconds of any monotonic clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

_WINDOW = 30.0  # seconds after a notification in which the same forward's events are only counted
_LOST = ("waiting", "reconnecting")


@dataclass(slots=True)
class _Told:
    state: str = ""
    up: bool = False  # active, or connecting to another pod directly after that
    lost: bool = False
    until: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)


class Digest:
    """Receives the events of all forwards and decides what to notify."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}

    def heard(self, id: str, state: str, message: str, now: float) -> str | None:
        """The text to show at once, if any."""
        told = self._told.setdefault(id, _Told())
        before, told.state = told.state, state
        up, lost = told.up, told.lost
        told.up = state == "active" or (up and state == "connecting")
        told.lost = (lost and state not in ("active", "stopped")) or state == "failed" or (up and state in _LOST)
        if up and state in _LOST:
            what = "lost"
        elif state == "active" and lost:
            what = "back"
        elif state == "failed" and before != "failed":
            what = "failed"
        else:
            return None
        if now < told.until:
            told.counts[what] += 1
            return None
        told.until = now + _WINDOW
        return f"{id} {'is back' if what == 'back' else 'was lost' if what == 'lost' else 'has failed'}: {message}"

    def due(self, now: float) -> Iterator[tuple[str, str]]:
        """(id, text) for each forward whose window is over and has counted events."""
        for id, told in self._told.items():
            if told.counts and now >= told.until:
                counts = ", ".join(f"{what} {count}×" for what, count in told.counts.items())
                told.counts.clear()
                told.until = now + _WINDOW
                yield id, f"{id} is {told.state}; in the last {_WINDOW:g} s: {counts}"

    @property
    def next(self) -> float:
        """When the next summary is due; infinity if there is none."""
        return min((told.until for told in self._told.values() if told.counts), default=float("inf"))
