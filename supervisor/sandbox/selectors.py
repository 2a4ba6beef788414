"""Label and field selectors as the API takes them in a query: text in, predicate over objects out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from supervisor.sandbox.store import Object

Predicate = Callable[[Object], bool]

REQUIREMENT = re.compile(
    r"""\s*(?:
        (?P<set_key>[^\s,=!()]+)\s+(?P<set>in|notin)\s*\((?P<values>[^)]*)\)
      | (?P<key>[^\s,=!()]+)\s*(?P<operator>==|=|!=)\s*(?P<value>[^\s,]*)
      | (?P<absent>!?)\s*(?P<name>[^\s,=!()]+)
    )\s*(?:,|$)""",
    re.VERBOSE,
)


class BadSelector(Exception):
    """The text is no selector (HTTP 400)."""


def _labels(object: Object) -> dict[str, str]:
    return object["metadata"].get("labels") or {}


def _requirement(match: re.Match[str], value_of: Callable[[Object, str], str | None]) -> Predicate:
    if key := match["set_key"]:
        values = {value.strip() for value in match["values"].split(",")}
        wanted = match["set"] == "in"
        return lambda object: (value_of(object, key) in values) == wanted
    if key := match["key"]:
        equal = match["operator"] != "!="
        return lambda object: (value_of(object, key) == match["value"]) == equal
    present = not match["absent"]
    return lambda object: (value_of(object, match["name"]) is not None) == present


def _parse(text: str, value_of: Callable[[Object, str], str | None]) -> Predicate:
    requirements: list[Predicate] = []
    at = 0
    while at < len(text):
        if not (match := REQUIREMENT.match(text, at)):
            raise BadSelector(f"unable to parse requirement: {text[at:]!r}")
        requirements.append(_requirement(match, value_of))
        at = match.end()
    return lambda object: all(holds(object) for holds in requirements)


def labels(text: str) -> Predicate:
    """`app=web,tier!=x,env in (a,b),!old`; raises BadSelector."""
    return _parse(text, lambda object, key: _labels(object).get(key))


def _field(object: Object, path: str) -> str:
    value: Any = object
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)


def fields(text: str) -> Predicate:
    """`metadata.name=x,status.phase!=Running`; raises BadSelector. Unlike the API, any path will do."""
    return _parse(text, _field)


def matching(wanted: dict[str, str]) -> Predicate:
    """What a spec's `matchLabels` picks; an empty one picks nothing (a service without selector)."""
    return lambda object: bool(wanted) and wanted.items() <= _labels(object).items()
