"""The columns of the table: which fit, how wide they are, and what stands in them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kpf_supervise.panel_state.cells import NOTHING, age, amount, local, middle, pods, seconds_of, spark
from kpf_supervise.panel_state.state import Forward, Row, View

LOOKS = {
    "active": "green",
    "connecting": "yellow",
    "reconnecting": "yellow",
    "waiting": "yellow",
    "idle": "",
    "failed": "bold red",
    "stopped": "dim",
}
SIGNS = dict(zip(LOOKS, "●◌◐◔○✗■", strict=True))
PLAIN_SIGNS = dict(zip(LOOKS, "*.~?ox-", strict=True))  # for terminals without Unicode

# In the order of the table. The width of texts is that of the longest one, at most this; numbers have a fixed width.
_TEXTS = {"NAME": 40, "STATE": 24, "LOCAL": 30, "TARGET": 32, "NAMESPACE": 24, "CONTEXT": 24, "POD": 40}
_NUMBERS = {"AGE": 5, "RESTARTS": 8, "CONN": 4, "HELD": 4, "IN": 11, "OUT": 11}
_TRAFFIC, _ERROR = 12, 24
_ORDER = (*_TEXTS, *_NUMBERS, "TRAFFIC", "ERROR")
_ALWAYS = ("NAME", "STATE", "LOCAL")
# What comes next on a wider terminal.
_RANKS = ("CONN", "AGE", "NAMESPACE", "CONTEXT", "POD", "IN OUT", "HELD", "ERROR", "TARGET", "TRAFFIC", "RESTARTS")
_SHORTEST = {"NAME": 8, "LOCAL": 6}  # characters, on a terminal that is too narrow for all of the three
PADDING = 2  # between two columns
_SORT_SIGN = 1


class Cell(NamedTuple):
    """`look` is a style of Rich. `link`: the address that a click in the terminal opens."""

    text: str
    look: str = ""
    right: bool = False
    link: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    width: int

    @property
    def right(self) -> bool:
        return self.title in _NUMBERS


@dataclass(slots=True)
class Layout:
    """Remembers how wide texts were: a column does not become narrower while forwards come and go."""

    signs: Mapping[str, str] = field(default_factory=lambda: SIGNS)
    _widest: dict[str, int] = field(default_factory=dict)
    _measured: dict[str, Forward] = field(default_factory=dict)  # by id, as they were then
    _width: int = 0
    _prefix: tuple[bool, str] = (False, "")  # what stands before names depends on it

    def columns(self, view: View, rows: Iterable[Row], width: int, now: float) -> list[Column]:
        """The columns that fit `width` cells. NAME, STATE and LOCAL are always there, shortened if need be."""
        prefix = (bool(view.marked), view.grouping)
        if width != self._width:
            self._widest = {}
        if (width, prefix) != (self._width, self._prefix):
            self._measured, self._width, self._prefix = {}, width, prefix
        widths = self._texts(view, rows, now) | _NUMBERS
        widths |= {"TRAFFIC": _TRAFFIC if self.signs is SIGNS else 0}
        widths["ERROR"] = _ERROR if any(each["error"] for each in view.forwards.values()) else 0
        widths["NAMESPACE"] *= view.varies("namespace")
        widths["CONTEXT"] *= view.varies("context")
        widths = {title: max(wide, len(title) + _SORT_SIGN) if wide else 0 for title, wide in widths.items()}
        whole = widths["NAME"]
        widths["NAME"] = min(whole, max(width // 4, _SHORTEST["NAME"]))
        left = width - sum(widths[title] + PADDING for title in _ALWAYS)
        for title, least in _SHORTEST.items():
            cut = min(max(-left, 0), max(widths[title] - least, 0))
            widths[title] -= cut
            left += cut
        kept = set(_ALWAYS)
        for titles in map(str.split, _RANKS):
            room = sum(widths[title] + PADDING for title in titles)
            if all(widths[title] for title in titles) and room <= left:
                kept.update(titles)
                left -= room
        more = min(whole - widths["NAME"], max(left, 0))
        widths["NAME"] += more
        if "ERROR" in kept:
            widths["ERROR"] += max(left - more, 0)
        return [Column(title, widths[title]) for title in _ORDER if title in kept]

    def _texts(self, view: View, rows: Iterable[Row], now: float) -> dict[str, int]:
        measured, self._measured = self._measured, dict(view.forwards)
        changed = (each for id, each in view.forwards.items() if measured.get(id) is not each)
        alone = [Row("", each["id"], (each,)) for each in changed]
        for row in (*alone, *(row for row in rows if row.kind != "forward")):
            for title, most in _TEXTS.items():
                text = "".join(self._name(row, view)) if title == "NAME" else self._text(title, row, view, now)
                long = min(len(text), most)
                self._widest[title] = max(self._widest.get(title, 0), long)
        return {title: self._widest.get(title, 1) for title in _TEXTS}

    def cell(self, column: Column, row: Row, view: View, now: float) -> Cell:
        title, width = column.title, column.width
        text = self._text(title, row, view, now)
        if title == "ERROR":
            return Cell(text if len(text) <= width else f"{text[: width - 1]}…", "red")
        if title == "NAME":
            front, name, count = self._name(row, view)
            name = middle(name, max(width - len(front) - len(count), 1))
            return Cell(f"{front}{name}{count}", "bold" if row.kind == "group" else "")
        if title == "LOCAL":
            listens = len(row.forwards) == 1 and row.forwards[0]["listening"]
            return Cell(middle(text, width), link=f"http://{text}" if listens else "")
        look = LOOKS[row.state] if title == "STATE" else "cyan" if title == "TRAFFIC" else ""
        if title == "HELD" and row.total("held"):
            look = "yellow"
        return Cell(middle(text, width), look, column.right)

    def _name(self, row: Row, view: View) -> tuple[str, str, str]:
        """What stands before the name, the name, and how many it stands for."""
        signs = {"group": "▸ " if row.closed else "▾ ", "folded": "▸ "}
        sign = signs.get(row.kind, "")
        if self.signs is not SIGNS:
            sign = sign.replace("▸", "+").replace("▾", "-")
        count = f" ({len(row.forwards)})" if row.kind != "forward" else ""
        if view.grouping and row.kind != "group":
            sign = f"  {sign}"
        if view.marked:
            all_marked = {each["id"] for each in row.forwards} <= view.marked
            sign = ("✓ " if self.signs is SIGNS else "# ")[: 2 * all_marked].ljust(2) + sign
        return sign, row.title, count

    def _text(self, title: str, row: Row, view: View, now: float) -> str:
        one = row.forwards[0]
        several = len(row.forwards) > 1
        match title:
            case "STATE":
                return self._state(row, now)
            case "LOCAL":
                return f"{len(row.forwards)} port{'s' * several}" if row.kind != "forward" else local(one)
            case "TARGET" | "NAMESPACE" | "CONTEXT":
                return row.same(title.lower()) or NOTHING
            case "POD":
                shown = {pods(each) for each in row.forwards}
                return shown.pop() or NOTHING if len(shown) == 1 else NOTHING
            case "AGE":
                return age(now - max(seconds_of(each["since"]) for each in row.forwards))
            case "RESTARTS" | "HELD":
                return str(row.total(title.lower()))
            case "CONN":
                return str(row.total("connections"))
            case "IN" | "OUT":
                way = 0 if title == "IN" else 1
                rate = sum(view.rates.get(each["id"], (0.0, 0.0))[way] for each in row.forwards)
                count = amount(row.total(("bytesIn", "bytesOut")[way]))
                return f"{count} {amount(rate)}/s" if rate >= 1 else count
            case "TRAFFIC":
                return spark(_added([view.history.get(each["id"], ()) for each in row.forwards]), _TRAFFIC)
        return next((each["error"] for each in row.forwards if each["error"]), "")

    def _state(self, row: Row, now: float) -> str:
        state = row.state
        text = f"{self.signs[state]} {state}"
        if row.kind != "forward":
            found = sum(each["state"] == state for each in row.forwards)
            return text if found == len(row.forwards) else f"{text} {found}/{len(row.forwards)}"
        return text + retry(row.forwards[0], now)


def retry(forward: Forward, now: float) -> str:
    """` 2/3 4s`: the second of three attempts follows in 4 s; empty if none is due."""
    if forward["attempt"] is None:
        return ""
    text = f" {forward['attempt']}{'/' + str(forward['attempts']) if forward['attempts'] else ''}"
    left = seconds_of(forward["retryAt"]) - now if forward["retryAt"] else 0
    return text + (f" {age(left + 0.5)}" if left >= 0.5 else "")


def _added(histories: Sequence[Iterable[float]]) -> list[float]:
    """The histories added up, aligned at their ends."""
    found = [list(each) for each in histories]
    long = max(map(len, found), default=0)
    padded = [[0.0] * (long - len(each)) + each for each in found]
    return [sum(column) for column in zip(*padded, strict=True)]
