"""What changes of a forward without an event: its counters above all, which change with each piece of data."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter

from kpf_supervise.model import Status

UNTOLD = (
    "forward",
    "origin",
    "port",
    "context",
    "namespace",
    "remote",
    "pods",
    "command",
    "restarts",
    "connections",
    "held",
    "lease",
    "bytes_in",
    "bytes_out",
)
_values = attrgetter(*UNTOLD)


class Changes:
    """Finds the forwards that have changed from one look to the next. `statuses` is the board's, and `now` is in
    seconds of a monotonic clock."""

    def __init__(self, statuses: Mapping[str, Status], now: float) -> None:
        self._statuses = statuses
        self._looked = now
        self._known = {id: _values(each) for id, each in statuses.items()}

    def look(self, now: float) -> tuple[float, list[Status]]:
        """The seconds since the last look, and those that have changed since, or are new."""
        seconds, self._looked = now - self._looked, now
        before, self._known = self._known, {id: _values(each) for id, each in self._statuses.items()}
        return seconds, [self._statuses[id] for id, values in self._known.items() if before.get(id) != values]
