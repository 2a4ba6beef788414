"""What the panel shows and what its keys mean, as plain values: forwards and events in, lines of text out. Pure.

A line is a list of (look, text); a look is a word such as "bad", which the terminal's side gives a colour to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .tables import NOTHING, age, amount, local
from .wire import line as event_line

Forward = dict[str, Any]
Segment = tuple[str, str]  # look, text
Line = list[Segment]

LOOKS = {
    "active": "good",
    "connecting": "busy",
    "reconnecting": "busy",
    "waiting": "busy",
    "idle": "calm",
    "failed": "bad",
    "stopped": "calm",
}
SIGNS = {
    "active": "●",
    "connecting": "◌",
    "reconnecting": "◐",
    "waiting": "◔",
    "idle": "○",
    "failed": "✗",
    "stopped": "■",
}
PLAIN_SIGNS = {  # for terminals that have no more
    "active": "*",
    "connecting": ".",
    "reconnecting": "~",
    "waiting": "?",
    "idle": "o",
    "failed": "x",
    "stopped": "-",
}
SORTS = ("file", "name", "state", "traffic")
_URGENCY = ("failed", "reconnecting", "waiting", "connecting", "active", "idle", "stopped")
_EVENTS = 100  # that are kept
HELP = """\
↑ ↓ j k PgUp PgDn Home End   choose a forward; the wheel and a click do so too
enter   its details: full cause, next step, kubectl's command line (c copies that where the terminal allows)
s       stop it, or start it where it is stopped
r       restart it with a fresh kubectl
l       its log
/       filter by name, state, target or pod; esc takes the filter away
o       sort as in the file, by name, by state or by traffic
S       stop all
?       this help
q       quit; esc closes what is open"""


def seconds_of(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


@dataclass(slots=True)
class View:
    """The state of the panel. `own`: to quit it ends the instance."""

    own: bool
    title: str = ""
    signs: dict[str, str] = field(default_factory=lambda: SIGNS)
    forwards: dict[str, Forward] = field(default_factory=dict)
    rates: dict[str, tuple[float, float]] = field(default_factory=dict)  # bytes/s in and out
    events: deque[str] = field(default_factory=lambda: deque(maxlen=_EVENTS))
    mode: str = "table"  # or details, log, help, quit
    log: list[str] = field(default_factory=list)  # of the selected one
    selected: str | None = None
    top: int = 0  # the first row or line that is shown
    at_end: bool = False  # the log is followed
    page: int = 1  # how many are
    filter: str = ""
    filtering: bool = False  # keys go into the filter
    sort: str = "file"
    word: str = ""  # what was refused
    spots: dict[int, list[tuple[int, int, str]]] = field(default_factory=dict)  # row → (from, to, key), for the mouse

    def listed(self, forwards: Iterable[Forward], elapsed: float) -> None:
        """Take the list in, `elapsed` seconds after the one before it (0: there was none)."""
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
            # its bytes are counted from list to list
            known = self.forwards.get(id or "", event["portForward"])
            counts = {name: known[name] for name in ("bytesIn", "bytesOut")}
            self.forwards[id or ""] = event["portForward"] | counts
        elif id is not None and event["event"] == "removed":
            self.forwards.pop(id, None)
        if self.mode == "log" and id == self.selected and event["event"] not in ("added", "removed"):
            self.log.append(event_line(event))
        if event["event"] not in ("kubectl", "added", "removed", "connecting"):
            text = event_line(event)
            if not self.events or self.events[-1] != text:  # it may have been among those that were asked for
                self.events.append(text)

    def shown(self) -> list[Forward]:
        """Those that the filter lets through, in order."""
        word = self.filter.lower()
        found = [
            each
            for each in self.forwards.values()
            if any(word in str(each[name]).lower() for name in ("id", "state", "target", "pod", "localPort"))
        ]
        keys: dict[str, Callable[[Forward], Any]] = {
            "name": lambda each: each["id"],
            "state": lambda each: _URGENCY.index(each["state"]),
            "traffic": lambda each: -sum(self.rates.get(each["id"], (0, 0))),
        }
        return sorted(found, key=keys[self.sort]) if self.sort in keys else found

    @property
    def current(self) -> Forward | None:
        """The selected one; the first where that is gone."""
        shown = self.shown()
        if not any(each["id"] == self.selected for each in shown):
            self.selected = shown[0]["id"] if shown else None
        return self.forwards.get(self.selected or "")

    # what keys do

    def press(self, key: str) -> tuple[str, dict[str, Any]] | str | None:
        """What a key asks for: a call of the control protocol, "quit", "log" (to be fetched), "copy" (the command line
        to the clipboard), or nothing more."""
        self.word = ""
        if self.filtering:
            self._edit_filter(key)
            return None
        if self.mode == "quit":
            self.mode = "table"
            return "quit" if key in ("y", "Y", "enter") else None
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
            return "stop_all", {}
        elif key == "q":
            if self.own and any(each["connections"] or each["held"] for each in self.forwards.values()):
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
        """The same for the mouse. A click on the chosen row opens its details."""
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

    # what is seen

    def lines(self, width: int, height: int, now: float) -> list[Line]:
        """The whole screen: `height` lines; what is too long for `width` is cut by the terminal's side."""
        self.spots = {}
        feet = self._feet(width)
        body = max(height - 1 - len(feet), 0)
        if self.mode in ("details", "log", "help"):
            pages = {"details": self._details(), "log": self.log, "help": HELP.splitlines()}
            text = [piece for each in pages[self.mode] for piece in _wrapped(each, width - 2)]
            if self.mode == "details":
                command = self.forwards.get(self.selected or "", {}).get("command") or ""
                text += ["", *_continued(command, width - 2)]
            self.page = body
            last = max(len(text) - body, 0)
            self.top = last if self.at_end else min(max(self.top, 0), last)
            self.at_end = self.mode == "log" and self.top == last
            middle = [[("", f" {each}")] for each in text[self.top : self.top + body]]
        else:
            middle = self._middle(width, body, now)
        middle += [[]] * (body - len(middle))
        for at, foot in enumerate(feet):
            self._mark(height - len(feet) + at, foot)
        return [self._head(width), *middle, *([*_words(foot)] for foot in feet)][:height]

    def _head(self, width: int) -> Line:
        count = dict.fromkeys(_URGENCY, 0)
        for each in self.forwards.values():
            count[each["state"]] += 1
        told = [(LOOKS[state], f"{count[state]} {state}") for state in ("active", *_URGENCY) if count[state]]
        parts: Line = []
        for segment in dict.fromkeys(told):
            parts += [("", " · "), segment] if parts else [segment]
        contexts = {each["context"] for each in self.forwards.values()} - {None}
        left = " · ".join([" kpf-supervise", self.title, *(contexts if len(contexts) == 1 else ())])
        right = sum(len(text) for _, text in parts) + 1
        if len(left) + right + 1 > width:
            left = left[: max(width - right - 2, 0)]
        return [("title", left), ("", " " * max(width - len(left) - right, 1)), *parts]

    def _feet(self, width: int) -> list[list[Segment]]:
        """The last line, with keys for the mouse in the place of looks."""
        if self.filtering:
            return [[("", f" filter: {self.filter}▏  "), ("enter", " enter keep "), ("esc", " esc clear ")]]
        if self.mode == "quit":
            count = sum(each["connections"] + each["held"] for each in self.forwards.values())
            text = f" {count} connection{'s are' if count != 1 else ' is'} open. Quit and stop all? "
            return [[("", text), ("y", "[ yes  y ]"), ("", " "), ("n", "[ no  n ]")]]
        if self.mode != "table":
            copy = [("c", "c copy the command"), ("", "  ")] if self.mode == "details" else []
            return [[("", f" {self.selected if self.mode != 'help' else ''}  "), *copy, ("esc", "[ close  esc ]")]]
        current = self.current
        stops = current is None or current["listening"]
        quit_ = "q quit" if self.own else "q close"
        words = [
            ("enter", "enter details"),
            ("s", "s stop" if stops else "s start"),
            ("r", "r restart"),
            ("l", "l log"),
            ("/", f"/ filter{f'={self.filter}' if self.filter else ''}"),
            ("o", f"o sort:{self.sort}"),
            ("?", "? help"),
            ("q", quit_),
        ]
        while words and 18 + sum(len(text) + 2 for _, text in words) > width:  # what matters most stays
            words.pop(-3 if len(words) > 3 else 0)
        foot: list[Segment] = [("", " ")]
        for word in words:
            foot += [word, ("", "  ")]
        return [[*foot, ("S", "[ Stop all  S ]")]]

    def _mark(self, row: int, foot: Sequence[Segment]) -> None:
        at = 0
        for key, text in foot:
            if key:
                self.spots.setdefault(row, []).append((at, at + len(text), key))
            at += len(text)

    def _middle(self, width: int, height: int, now: float) -> list[Line]:
        """Column heads, rows, what is wrong with the chosen one, and the last events."""
        shown, current = self.shown(), self.current
        told = self.word or (_trouble(current) if current else "")
        bottom: list[Line] = [[("bad", f" {piece}")] for piece in _wrapped(told, width - 2)[:3]] if told else []
        events = min(len(self.events), max((height - 6 - len(bottom)) // 3, 0), 8)
        if events:
            bottom += [[("dim", "─" * width)]]
            bottom += [[("", f" {each}")] for each in list(self.events)[-events:]]
        self.page = rows = max(height - 1 - len(bottom), 0)
        ids = [each["id"] for each in shown]
        at = ids.index(self.selected) if self.selected in ids else 0
        self.top = min(max(self.top, at - rows + 1, 0), at, max(len(ids) - rows, 0)) if rows else 0
        columns = self._columns(shown, width, now)
        lines: list[Line] = [[("head", " " + "  ".join(f"{title:<{wide}}" for title, wide, _ in columns))]]
        for number, each in enumerate(shown[self.top : self.top + rows]):
            lines.append(self._row(each, [(wide, cells[self.top + number]) for _, wide, cells in columns], width))
            self.spots[len(lines)] = [(0, width, f"row {each['id']}")]
        if not shown:
            lines.append([("calm", " nothing matches the filter" if self.forwards else " no forwards")])
        lines += [[]] * (height - len(lines) - len(bottom))
        return (lines + bottom)[: max(height, 0)]

    def _row(self, forward: Forward, cells: Sequence[tuple[int, str]], width: int) -> Line:
        texts = [f"{cell:<{wide}}" for wide, cell in cells]
        if forward["id"] == self.selected:
            return [("chosen", f"{' ' + '  '.join(texts):<{width}}")]
        return [("", f" {texts[0]}  "), (LOOKS[forward["state"]], texts[1]), ("", "  " + "  ".join(texts[2:]))]

    def _columns(self, shown: Sequence[Forward], width: int, now: float) -> list[tuple[str, int, list[str]]]:
        """(title, width, cells) of the columns that have room; the less important ones give way."""
        made: dict[str, Callable[[Forward], str]] = {
            "NAME": lambda each: each["id"],
            "STATE": lambda each: self._state(each, now),
            "LOCAL": local,
            "TARGET": lambda each: each["target"],
            "POD": lambda each: each["pod"] or NOTHING,
            "AGE": lambda each: age(now - seconds_of(each["since"])),
            "RESTARTS": lambda each: str(each["restarts"]),
            "CONN": lambda each: f"{each['held']} held" if each["held"] else str(each["connections"]),
            "IN": lambda each: self._bytes(each, 0),
            "OUT": lambda each: self._bytes(each, 1),
            "ERROR": lambda each: each["error"] or "",
        }
        cells = {title: [make(each) for each in shown] for title, make in made.items()}
        widths = {title: max(map(len, (title, *column))) for title, column in cells.items()}
        widths["ERROR"] = min(widths["ERROR"], 24) if any(cells["ERROR"]) else 0
        left = width - 1
        kept: set[str] = set()
        for title in ("NAME", "STATE", "LOCAL", "CONN", "AGE", "ERROR", "POD", "IN OUT", "TARGET", "RESTARTS"):
            names = title.split()
            room = sum(widths[name] + 2 for name in names)
            if widths[names[0]] and room <= left + 2:
                kept.update(names)
                left -= room
        if "ERROR" in kept:
            widths["ERROR"] += max(left, 0)
        return [(title, widths[title], cells[title]) for title in made if title in kept]

    def _state(self, forward: Forward, now: float) -> str:
        state = forward["state"]
        text = f"{self.signs[state]} {state}"
        if forward["attempt"] is not None:
            text += f" {forward['attempt']}{'/' + str(forward['attempts']) if forward['attempts'] else ''}"
            left = seconds_of(forward["retryAt"]) - now
            text += f" {age(left + 0.5)}" if left >= 0.5 else ""
        return text

    def _bytes(self, forward: Forward, way: int) -> str:
        rate = self.rates.get(forward["id"], (0.0, 0.0))[way]
        return amount(forward[("bytesIn", "bytesOut")[way]]) + (f" {amount(rate)}/s" if rate >= 1 else "")

    def _details(self) -> list[str]:
        each = self.forwards.get(self.selected or "")
        if each is None:
            return ["it is no longer listed"]
        facts = {
            "state": f"{each['state']} since {datetime.fromisoformat(each['since']).astimezone():%H:%M:%S}",
            "cause": each["error"],
            "next step": each["nextStep"],
            "local": local(each),
            "target": f"{each['target']}, port {each['remote']}",
            "pod": f"{each['pod']}, port {each['remotePort']}" if each["pod"] else None,
            "namespace": each["namespace"] or None,
            "context": each["context"],
            "connections": f"{each['connections']} open, {each['held']} held",
            "bytes": f"{each['bytesIn']} in, {each['bytesOut']} out",
            "restarts": str(each["restarts"]),
            "declared by": "the file" if each["declared"] else "kpfctl start",
        }
        lines = [f"{name:<12} {value}" for name, value in facts.items() if value is not None]
        return [each["id"], "", *lines]


def _trouble(forward: Forward) -> str:
    parts = (forward["error"], forward["nextStep"])
    return f"{forward['id']}: {'. '.join(filter(None, parts))}" if forward["error"] else ""


def _wrapped(text: str, width: int) -> list[str]:
    """At `width`, between words where that is possible."""
    pieces, width = [], max(width, 1)
    while len(text) > width:
        at = text.rfind(" ", width // 2, width + 1)
        at = width if at <= 0 else at
        pieces.append(text[:at])
        text = text[at:].lstrip()
    return [*pieces, text]


def _continued(command: str, width: int) -> list[str]:
    """A command line that still is one when all its lines are copied."""
    *pieces, last = _wrapped(command, width - 2)
    return [*(f"{piece} \\" for piece in pieces), last]


def _words(foot: Iterable[Segment]) -> Line:
    return [("key" if key else "", text) for key, text in foot]
