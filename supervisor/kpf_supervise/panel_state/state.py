"""What the panel knows and shows, as plain values: what the control socket tells in, rows out. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kpf_supervise.panel_state.cells import pods, seconds_of

Forward = dict[str, Any]
Event = dict[str, Any]

SORTS = ("file", "NAME", "STATE", "TRAFFIC")  # those that the key goes through; a click sorts by any column
GROUPINGS = ("", "namespace", "context", "state")
URGENCY = ("failed", "reconnecting", "waiting", "connecting", "active", "idle", "stopped")
_EVENTS = 1000  # as many as the instance keeps
_HISTORY = 60  # seconds for which the rates of a forward are kept
_SEARCHED = ("id", "state", "target", "pods", "localPort", "namespace", "context", "groups")

_SORT_KEYS: dict[str, Callable[[Forward], Any]] = {
    "NAME": lambda each: each["id"],
    "STATE": lambda each: URGENCY.index(each["state"]),
    "LOCAL": lambda each: each["localPort"],
    "TARGET": lambda each: each["target"],
    "NAMESPACE": lambda each: each["namespace"],
    "CONTEXT": lambda each: each["context"] or "",
    "POD": pods,
    "AGE": lambda each: -seconds_of(each["since"]),
    "RESTARTS": lambda each: -each["restarts"],
    "CONN": lambda each: -each["connections"],
    "HELD": lambda each: -each["held"],
    "IN": lambda each: -each["bytesIn"],
    "OUT": lambda each: -each["bytesOut"],
    "ERROR": lambda each: each["error"] or "\N{REPLACEMENT CHARACTER}",  # those without one come last
}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: a forward, several that are folded into one line, or the head of a group."""

    key: str
    title: str
    forwards: tuple[Forward, ...]
    kind: str = "forward"  # or "folded", "group"
    closed: bool = False  # a group whose rows are not shown

    @property
    def state(self) -> str:
        """The most urgent state of its forwards."""
        return str(min((each["state"] for each in self.forwards), key=URGENCY.index))

    def same(self, name: str) -> Any:
        """The value that all its forwards share, or None."""
        values = {each[name] for each in self.forwards}
        return values.pop() if len(values) == 1 else None

    def total(self, name: str) -> int:
        return sum(each[name] for each in self.forwards)


@dataclass(slots=True)
class View:
    """The state of the panel. `own`: quitting it ends the instance."""

    own: bool
    title: str = ""
    path: str = ""  # of the configuration file; empty: there is none
    mistakes: list[str] = field(default_factory=list)  # in that file as it is now
    forwards: dict[str, Forward] = field(default_factory=dict)
    rates: dict[str, tuple[float, float]] = field(default_factory=dict)  # bytes/s in and out
    history: dict[str, deque[float]] = field(default_factory=dict)  # bytes/s in both directions, a second each
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=_EVENTS))
    last: dict[str, Event] = field(default_factory=dict)  # the last event of each forward
    marked: set[str] = field(default_factory=set)
    folded: set[str] = field(default_factory=set)  # keys of rows
    grouping: str = ""
    filter: str = ""
    sort: str = "file"
    backwards: bool = False
    stopped: dict[str, dict[str, Any]] = field(default_factory=dict)  # by *Stop all*, with what starts it again

    def listed(self, forwards: Iterable[Forward]) -> None:
        """Take the forwards as they are at the beginning of a connection."""
        self.forwards = {each["id"]: each for each in forwards}
        self.marked &= self.forwards.keys()
        self.rates = {}

    def counted(self, changed: list[Forward], seconds: float) -> bool:
        """Take the forwards whose counters have changed in so many seconds. Returns whether anything but time has."""
        before, self.rates = self.rates, {}
        for new in changed:
            known = self.forwards.get(new["id"])
            if known is None:
                continue  # its event `added` follows
            into, out = (max(new[name] - known[name], 0) / max(seconds, 0.001) for name in ("bytesIn", "bytesOut"))
            if into or out:
                self.rates[new["id"]] = (into, out)
            self.forwards[new["id"]] = new
        for id in self.history.keys() | self.rates.keys():
            rates = self.history.setdefault(id, deque(maxlen=_HISTORY))
            rates.append(sum(self.rates.get(id, ())))
            if not any(rates):
                del self.history[id]
        return bool(changed or before)

    def heard(self, event: Event) -> None:
        """Take an event that was sent after a `subscribe`."""
        id = event.get("forward")
        new: Forward | None = event["portForward"]
        if new is not None and event["event"] != "removed":  # if it is listed again, `added` follows
            # the byte counts change only with `counted`, which makes rates of them
            known = self.forwards.get(new["id"], new)
            self.forwards[new["id"]] = new | {name: known[name] for name in ("bytesIn", "bytesOut")}
        elif id is not None and event["event"] == "removed":
            self.forwards.pop(id, None)
            self.marked.discard(id)
            self.history.pop(id, None)
        self._keep(event)

    def fetched(self, kept: Iterable[Event]) -> None:
        """Take the events that the instance has kept. Some of them may have been heard already."""
        known = {(each["time"], each.get("forward"), each["message"]): each for each in (*kept, *self.events)}
        self.events.clear()
        for each in sorted(known.values(), key=lambda each: str(each["time"])):
            self._keep(each)

    def _keep(self, event: Event) -> None:
        """Keep an event for people."""
        if event["event"] not in ("kubectl", "added", "removed"):
            self.events.append(event)
            if event.get("forward"):
                self.last[event["forward"]] = event

    def shown(self) -> list[Forward]:
        """The forwards that match the filter, in order."""
        words = self.filter.lower().split()
        found = [each for each in self.forwards.values() if all(_matches(each, word) for word in words)]
        if self.sort == "TRAFFIC":
            found.sort(key=lambda each: -sum(self.rates.get(each["id"], (0, 0))), reverse=self.backwards)
        elif self.sort in _SORT_KEYS:
            found.sort(key=_SORT_KEYS[self.sort], reverse=self.backwards)
        elif self.backwards:
            found.reverse()
        return found

    def rows(self) -> list[Row]:
        """The lines of the table."""
        shown = self.shown()
        if not self.grouping:
            return list(self._lines(shown))
        groups: dict[str, list[Forward]] = {}
        for each in shown:
            groups.setdefault(str(each[self.grouping] or "–"), []).append(each)
        rows: list[Row] = []
        for name, members in groups.items():
            key = f"{self.grouping} {name}"
            rows.append(Row(key, name, tuple(members), "group", key in self.folded))
            if key not in self.folded:
                rows += self._lines(members)
        return rows

    def _lines(self, forwards: Iterable[Forward]) -> Iterator[Row]:
        """One for each forward, and one for all ports of a name that is folded."""
        forwards = list(forwards)
        members: dict[str, list[Forward]] = {}
        for each in forwards:
            members.setdefault(name_of(each), []).append(each)
        for each in forwards:
            name = name_of(each)
            if f"name {name}" not in self.folded or len(members[name]) < 2:
                yield Row(f"forward {each['id']}", each["id"], (each,))
            elif each is members[name][0]:
                yield Row(f"name {name}", name, tuple(members[name]), "folded", closed=True)

    def fold(self, row: Row) -> str:
        """Fold the group, or the ports of the same name. Returns the key of the row that is selected then."""
        if row.kind == "group":
            self.folded.add(row.key)
        elif row.kind == "forward":
            name = name_of(row.forwards[0])
            if sum(name_of(each) == name for each in self.forwards.values()) > 1:
                self.folded.add(f"name {name}")
                return f"name {name}"
        if row.kind != "group" and self.grouping:
            key = f"{self.grouping} {row.forwards[0][self.grouping] or '–'}"
            self.folded.add(key)
            return key
        return row.key

    def unfold(self, row: Row) -> str:
        """The opposite of `fold`."""
        self.folded.discard(row.key)
        return f"forward {row.forwards[0]['id']}" if row.kind == "folded" else row.key

    def sort_by(self, column: str) -> None:
        """Sort by this column; again: backwards; once more: as in the file."""
        if self.sort != column:
            self.sort, self.backwards = column, False
        elif not self.backwards:
            self.backwards = True
        else:
            self.sort, self.backwards = "file", False

    def chosen(self, row: Row | None) -> list[Forward]:
        """What an action is about: the marked forwards, else those of the selected row."""
        if self.marked:
            return [each for id, each in self.forwards.items() if id in self.marked]
        return [self.forwards[each["id"]] for each in row.forwards if each["id"] in self.forwards] if row else []

    def mark(self, row: Row) -> None:
        """Mark the forwards of a row, or no longer if all of them are marked."""
        ids = {each["id"] for each in row.forwards}
        self.marked = self.marked - ids if ids <= self.marked else self.marked | ids

    @property
    def open(self) -> int:
        """How many connections are open, including held ones."""
        return sum(each["connections"] + each["held"] for each in self.forwards.values())

    def varies(self, name: str) -> bool:
        return len({each[name] for each in self.forwards.values()} - {None, ""}) > 1


def name_of(forward: Forward) -> str:
    """The name below `forwards:` in the file: `web` of `web/http`."""
    return str(forward["id"]).partition("/")[0]


def _matches(forward: Forward, word: str) -> bool:
    return any(word in str(forward[name]).lower() for name in _SEARCHED)


def counts(forwards: Iterable[Forward]) -> dict[str, int]:
    """How many forwards are in each state, the active ones first, then by urgency; states without one are left out."""
    states = [each["state"] for each in forwards]
    return {state: states.count(state) for state in dict.fromkeys(("active", *URGENCY)) if state in states}
