"""Label and field selectors from the query of an API request: text in, predicate over objects out."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from kpf_supervise.config.selectors import parse_selector
from kpf_supervise.sandbox.store import Object

Predicate = Callable[[Object], bool]

_FIELD = re.compile(r"\s*(?P<path>[\w.]+)\s*(?P<operator>==|=|!=)\s*(?P<value>[^\s,]*)\s*")


def _labels(object: Object) -> dict[str, str]:
    return object["metadata"].get("labels") or {}


def labels(text: str) -> Predicate:
    """Parse `app=web,tier!=x,env in (a,b),!old`. Raises ValueError."""
    if not text.strip():
        return lambda _: True
    selector = parse_selector(text)
    return lambda object: selector.matches(_labels(object))


def _field(object: Object, path: str) -> str:
    value: Any = object
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return "" if value is None else str(value)


def fields(text: str) -> Predicate:
    """Parse `metadata.name=x,status.phase!=Running`. Raises ValueError. Unlike the API, any path is allowed."""
    wanted: list[tuple[str, bool, str]] = []
    for part in filter(str.strip, text.split(",")):
        found = _FIELD.fullmatch(part)
        if not found:
            raise ValueError(f"unable to parse requirement: {part!r}")
        wanted.append((found["path"], found["operator"] != "!=", found["value"]))
    return lambda object: all((_field(object, path) == value) == equal for path, equal, value in wanted)


def matching(wanted: dict[str, str]) -> Predicate:
    """The predicate of a spec's `matchLabels`. An empty one matches nothing (a service without selector)."""
    return lambda object: bool(wanted) and wanted.items() <= _labels(object).items()
