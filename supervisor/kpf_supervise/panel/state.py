"""The panel's state and what its keys mean, as plain values: forwards, events and keys in, calls out. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from kpf_supervise.events.serialize import line as event_line

Forward = dict[str, Any]

SORTS = ("file", "name", "state", "traffic")
URGENCY = ("failed", "reconnecting", "waiting", "connecting", "active", "idle", "stopped")
_EVENTS = 100  # events that are kept


@dataclass(slots=True)
class View:
    """The state of the panel. `own`: quitting it ends the instance."""

    own: bool
    title: str = ""
    forwards: dict[str, Forward] = field(default_factory=dict)
    rates: dict[str, tuple[float, float]] = field(default_factory=dict)  # bytes/s in and out
    events: deque[str] = field(default_factory=lambda: deque(maxlen=_EVENTS))
    mode: str = "table"  # or details, log, help; quit or stop, which ask for confirmation
    log: list[str] = field(default_factory=list)  # of the selected forward
    selected: str | None = None
    top: int = 0  # the first row or line that is shown
    at_end: bool = False  # the log scrolls with new lines
    page: int = 1  # how many rows or lines are shown
    filter: str = ""
    filtering: bool = False  # keys go into the filter
    sort: str = "file"
    word: str = ""  # the message of a refused call
    spots: dict[int, list[tuple[int, int, str]]] = field(default_factory=dict)  # row → (from, to, key), for the mouse

    def listed(self, forwards: Iterable[Forward], elapsed: float) -> None:
        """Store a new list, `elapsed` seconds after the previous one (0: there was none)."""
        new = {each["id"]: each for each in forwards}
        for id, each in new.items():
            before = self.forwards.get(id)
            if before is not None and elapsed > 0:
                moved = (each[name] - before[name] for name in ("bytesIn", "bytesOut"))
                into, out = (max(count, 0) / elapsed for count in moved)
                self.rates[id] = (into, out)
        self.forwards = new

    def heard(self, event: dict[str, Any]) -> None:
        id = event.get("forward")
        if event["portForward"] is not None:
            # the byte counts change only with a list: rates are computed between lists
            known = self.forwards.get(id or "", event["portForward"])
            counts = {name: known[name] for name in ("bytesIn", "bytesOut")}
            self.forwards[id or ""] = event["portForward"] | counts
        elif id is not None and event["event"] == "removed":
            self.forwards.pop(id, None)
        if self.mode == "log" and id == self.selected and event["event"] not in ("added", "removed"):
            self.log.append(event_line(event))
        if event["event"] not in ("kubectl", "added", "removed", "connecting"):
            text = event_line(event)
            if not self.events or self.events[-1] != text:  # it may be among the fetched events already
                self.events.append(text)

    def shown(self) -> list[Forward]:
        """The forwards that match the filter, in order."""
        word = self.filter.lower()
        found = [
            each
            for each in self.forwards.values()
            if any(word in str(each[name]).lower() for name in ("id", "state", "target", "pod", "localPort"))
        ]
        keys: dict[str, Callable[[Forward], Any]] = {
            "name": lambda each: each["id"],
            "state": lambda each: URGENCY.index(each["state"]),
            "traffic": lambda each: -sum(self.rates.get(each["id"], (0, 0))),
        }
        return sorted(found, key=keys[self.sort]) if self.sort in keys else found

    @property
    def current(self) -> Forward | None:
        """The selected forward; the first one if that is gone."""
        shown = self.shown()
        if not any(each["id"] == self.selected for each in shown):
            self.selected = shown[0]["id"] if shown else None
        return self.forwards.get(self.selected or "")

    @property
    def open(self) -> int:
        """How many connections are open, including held ones."""
        return sum(each["connections"] + each["held"] for each in self.forwards.values())

    def press(self, key: str) -> tuple[str, dict[str, Any]] | str | None:
        """Handle a key. Returns what the caller is to do: a call of the control protocol, "quit", "log" (fetch it),
        "copy" (the command line to the clipboard), or nothing."""
        self.word = ""
        if self.filtering:
            self._edit_filter(key)
            return None
        if self.mode in ("quit", "stop"):
            asked, self.mode = self.mode, "table"
            if key not in ("y", "Y", "enter"):
                return None
            return "quit" if asked == "quit" else ("stop_all", {})
        if self.mode != "table":
            if key in ("esc", "q", "enter", "?"):
                self._open("table")
            elif key == "c" and self.mode == "details":
                return "copy"
            elif steps := self._steps(key):
                self.top, self.at_end = self.top + steps, False
            return None
        current = self.current
        if steps := self._steps(key):
            self._move(steps)
        elif key == "esc":
            self.filter = ""
        elif key == "/":
            self.filtering = True
        elif key == "o":
            self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
        elif key == "?":
            self._open("help")
        elif key == "S":
            if self.open:
                self.mode = "stop"
            else:
                return "stop_all", {}
        elif key == "q":
            if self.own and self.open:
                self.mode = "quit"
            else:
                return "quit"
        elif current is not None and key == "enter":
            self._open("details")
        elif current is not None and key == "l":
            self.log = []
            self._open("log")
            return "log"
        elif current is not None and key == "s":
            method = "portforward:stop" if current["listening"] else "restart"
            return method, {"id": current["id"]}
        elif current is not None and key == "r":
            return "restart", {"id": current["id"]}
        return None

    def click(self, row: int, column: int) -> tuple[str, dict[str, Any]] | str | None:
        """Handle a click, as `press`. A click on the selected row opens its details."""
        for begin, end, key in self.spots.get(row, ()):
            if begin <= column < end:
                if not key.startswith("row "):
                    return self.press(key)
                if self.selected == key[4:]:
                    return self.press("enter")
                self.selected = key[4:]
        return None

    def _open(self, mode: str) -> None:
        self.mode, self.top, self.at_end = mode, 0, mode == "log"

    def _steps(self, key: str) -> int:
        far = 1_000_000
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "home": -far, "end": far}
        return (steps | {"page up": -self.page, "page down": self.page}).get(key, 0)

    def _move(self, steps: int) -> None:
        ids = [each["id"] for each in self.shown()]
        if ids:
            at = ids.index(self.selected) if self.selected in ids else 0
            self.selected = ids[min(max(at + steps, 0), len(ids) - 1)]

    def _edit_filter(self, key: str) -> None:
        if key in ("enter", "esc"):
            self.filtering = False
            self.filter = "" if key == "esc" else self.filter
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif len(key) == 1 and key.isprintable():
            self.filter += key
