"""What of a forward's events is worth a sound or a desktop notification: lost, back, failed; a flapping one summed up.

Pure: the time is given, in seconds of any clock that does not jump.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

_WINDOW = 30.0  # seconds after a notification in which the same forward only counts
_LOST = ("waiting", "reconnecting")


@dataclass(slots=True)
class _Told:
    state: str = ""
    up: bool = False  # active, or about to be so again on another pod
    lost: bool = False
    until: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)


class Digest:
    """Takes the events of all forwards in, and says what to tell."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}

    def heard(self, id: str, state: str, message: str, now: float) -> str | None:
        """The text to tell at once, if there is one."""
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
        """(id, text) of those whose window is over and in which something was counted."""
        for id, told in self._told.items():
            if told.counts and now >= told.until:
                counts = ", ".join(f"{what} {count}×" for what, count in told.counts.items())
                told.counts.clear()
                told.until = now + _WINDOW
                yield id, f"{id} is {told.state}; in the last {_WINDOW:g} s: {counts}"

    @property
    def next(self) -> float:
        """When something will be due; infinity where nothing is."""
        return min((told.until for told in self._told.values() if told.counts), default=float("inf"))
