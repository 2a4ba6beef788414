"""Draws the panel: a View in, lines of text out. Pure.

A line is a list of (look, text). A look is a word such as "bad"; terminal.py gives it a colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from kpf_supervise.panel.cells import NOTHING, age, amount, local, reason
from kpf_supervise.panel.state import URGENCY, Forward, View

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
PLAIN_SIGNS = {  # for terminals without Unicode
    "active": "*",
    "connecting": ".",
    "reconnecting": "~",
    "waiting": "?",
    "idle": "o",
    "failed": "x",
    "stopped": "-",
}
HELP = """\
↑ ↓ j k PgUp PgDn Home End   select a forward, as the wheel and a click do
enter   its details: full cause, next step, kubectl's command line (c copies that where the terminal allows)
s       stop it, or start it if it is stopped
r       restart it with a fresh kubectl
l       its log
/       filter by name, state, target or pod; esc clears the filter
o       sort as in the file, by name, by state or by traffic
S       stop all; asks first if connections are open
?       this help
q       quit; esc closes what is open"""


def draw(view: View, width: int, height: int, now: float, signs: Mapping[str, str] = SIGNS) -> list[Line]:
    """The whole screen: `height` lines. Lines longer than `width` are cut by terminal.py. Stores in the view where the
    mouse can click, and how much of the text is visible."""
    return _Drawing(view, width, now, signs).lines(height)


class _Drawing:
    def __init__(self, view: View, width: int, now: float, signs: Mapping[str, str]) -> None:
        self._view, self._width, self._now, self._signs = view, width, now, signs

    def lines(self, height: int) -> list[Line]:
        view = self._view
        view.spots = {}
        feet = self._feet()
        body = max(height - 1 - len(feet), 0)
        if view.mode in ("details", "log", "help"):
            pages = {"details": self._details(), "log": view.log, "help": HELP.splitlines()}
            text = [piece for each in pages[view.mode] for piece in _wrapped(each, self._width - 2)]
            if view.mode == "details":
                command = view.forwards.get(view.selected or "", {}).get("command") or ""
                text += ["", *_continued(command, self._width - 2)]
            view.page = body
            last = max(len(text) - body, 0)
            view.top = last if view.at_end else min(max(view.top, 0), last)
            view.at_end = view.mode == "log" and view.top == last
            middle = [[("", f" {each}")] for each in text[view.top : view.top + body]]
        else:
            middle = self._middle(body)
        middle += [[]] * (body - len(middle))
        for at, foot in enumerate(feet):
            self._mark(height - len(feet) + at, foot)
        return [self._head(), *middle, *([*_words(foot)] for foot in feet)][:height]

    def _head(self) -> Line:
        view = self._view
        count = dict.fromkeys(URGENCY, 0)
        for each in view.forwards.values():
            count[each["state"]] += 1
        told = [(LOOKS[state], f"{count[state]} {state}") for state in ("active", *URGENCY) if count[state]]
        parts: Line = []
        for segment in dict.fromkeys(told):
            parts += [("", " · "), segment] if parts else [segment]
        contexts = {each["context"] for each in view.forwards.values()} - {None}
        left = " · ".join([" kpf-supervise", view.title, *(contexts if len(contexts) == 1 else ())])
        right = sum(len(text) for _, text in parts) + 1
        if len(left) + right + 1 > self._width:
            left = left[: max(self._width - right - 2, 0)]
        return [("title", left), ("", " " * max(self._width - len(left) - right, 1)), *parts]

    def _feet(self) -> list[list[Segment]]:
        """The last line, with keys for the mouse instead of looks."""
        view = self._view
        if view.filtering:
            return [[("", f" filter: {view.filter}▏  "), ("enter", " enter keep "), ("esc", " esc clear ")]]
        if view.mode in ("quit", "stop"):
            wanted = "Quit and stop all?" if view.mode == "quit" else "Stop all forwards?"
            text = f" {view.open} connection{'s are' if view.open != 1 else ' is'} open. {wanted} "
            return [[("", text), ("y", "[ yes  y ]"), ("", " "), ("n", "[ no  n ]")]]
        if view.mode != "table":
            copy = [("c", "c copy the command"), ("", "  ")] if view.mode == "details" else []
            of = "" if view.mode == "help" else view.selected
            return [[("", f" {of}  "), *copy, ("esc", "[ close  esc ]")]]
        current = view.current
        stops = current is None or current["listening"]
        quit_ = "q quit" if view.own else "q close"
        words = [
            ("enter", "enter details"),
            ("s", "s stop" if stops else "s start"),
            ("r", "r restart"),
            ("l", "l log"),
            ("/", f"/ filter{f'={view.filter}' if view.filter else ''}"),
            ("o", f"o sort:{view.sort}"),
            ("?", "? help"),
            ("q", quit_),
        ]
        while words and 18 + sum(len(text) + 2 for _, text in words) > self._width:  # the most important keys stay
            words.pop(-3 if len(words) > 3 else 0)
        foot: list[Segment] = [("", " ")]
        for word in words:
            foot += [word, ("", "  ")]
        return [[*foot, ("S", "[ Stop all  S ]")]]

    def _mark(self, row: int, foot: Sequence[Segment]) -> None:
        at = 0
        for key, text in foot:
            if key:
                self._view.spots.setdefault(row, []).append((at, at + len(text), key))
            at += len(text)

    def _middle(self, height: int) -> list[Line]:
        """Column heads, rows, the error of the selected forward, and the last events."""
        view = self._view
        shown, current = view.shown(), view.current
        told = view.word or (f"{current['id']}: {reason(current)}" if current and current["error"] else "")
        bottom: list[Line] = [[("bad", f" {piece}")] for piece in _wrapped(told, self._width - 2)[:3]] if told else []
        events = min(len(view.events), max((height - 6 - len(bottom)) // 3, 0), 8)
        if events:
            bottom += [[("dim", "─" * self._width)]]
            bottom += [[("", f" {each}")] for each in list(view.events)[-events:]]
        view.page = rows = max(height - 1 - len(bottom), 0)
        ids = [each["id"] for each in shown]
        at = ids.index(view.selected) if view.selected in ids else 0
        view.top = min(max(view.top, at - rows + 1, 0), at, max(len(ids) - rows, 0)) if rows else 0
        columns = self._columns(shown)
        lines: list[Line] = [[("head", " " + "  ".join(f"{title:<{wide}}" for title, wide, _ in columns))]]
        for number, each in enumerate(shown[view.top : view.top + rows]):
            lines.append(self._row(each, [(wide, cells[view.top + number]) for _, wide, cells in columns]))
            view.spots[len(lines)] = [(0, self._width, f"row {each['id']}")]
        if not shown:
            lines.append([("calm", " nothing matches the filter" if view.forwards else " no forwards")])
        lines += [[]] * (height - len(lines) - len(bottom))
        return (lines + bottom)[: max(height, 0)]

    def _row(self, forward: Forward, cells: Sequence[tuple[int, str]]) -> Line:
        texts = [f"{cell:<{wide}}" for wide, cell in cells]
        if forward["id"] == self._view.selected:
            return [("chosen", f"{' ' + '  '.join(texts):<{self._width}}")]
        return [("", f" {texts[0]}  "), (LOOKS[forward["state"]], texts[1]), ("", "  " + "  ".join(texts[2:]))]

    def _columns(self, shown: Sequence[Forward]) -> list[tuple[str, int, list[str]]]:
        """(title, width, cells) of the columns that fit; the less important ones are left out."""
        made: dict[str, Callable[[Forward], str]] = {
            "NAME": lambda each: each["id"],
            "STATE": self._state,
            "LOCAL": local,
            "TARGET": lambda each: each["target"],
            "POD": lambda each: each["pod"] or NOTHING,
            "AGE": lambda each: age(self._now - seconds_of(each["since"])),
            "RESTARTS": lambda each: str(each["restarts"]),
            "CONN": lambda each: f"{each['held']} held" if each["held"] else str(each["connections"]),
            "IN": lambda each: self._bytes(each, 0),
            "OUT": lambda each: self._bytes(each, 1),
            "ERROR": lambda each: each["error"] or "",
        }
        cells = {title: [make(each) for each in shown] for title, make in made.items()}
        widths = {title: max(map(len, (title, *column))) for title, column in cells.items()}
        widths["ERROR"] = min(widths["ERROR"], 24) if any(cells["ERROR"]) else 0
        left = self._width - 1
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

    def _state(self, forward: Forward) -> str:
        state = forward["state"]
        text = f"{self._signs[state]} {state}"
        if forward["attempt"] is not None:
            text += f" {forward['attempt']}{'/' + str(forward['attempts']) if forward['attempts'] else ''}"
            left = seconds_of(forward["retryAt"]) - self._now
            text += f" {age(left + 0.5)}" if left >= 0.5 else ""
        return text

    def _bytes(self, forward: Forward, way: int) -> str:
        rate = self._view.rates.get(forward["id"], (0.0, 0.0))[way]
        return amount(forward[("bytesIn", "bytesOut")[way]]) + (f" {amount(rate)}/s" if rate >= 1 else "")

    def _details(self) -> list[str]:
        each = self._view.forwards.get(self._view.selected or "")
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


def seconds_of(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _wrapped(text: str, width: int) -> list[str]:
    """Wrap at `width`, between words if possible."""
    pieces, width = [], max(width, 1)
    while len(text) > width:
        at = text.rfind(" ", width // 2, width + 1)
        at = width if at <= 0 else at
        pieces.append(text[:at])
        text = text[at:].lstrip()
    return [*pieces, text]


def _continued(command: str, width: int) -> list[str]:
    """Wrap a command line so that its lines, copied together, are still one command."""
    *pieces, last = _wrapped(command, width - 2)
    return [*(f"{piece} \\" for piece in pieces), last]


def _words(foot: Iterable[Segment]) -> Line:
    return [("key" if key else "", text) for key, text in foot]
