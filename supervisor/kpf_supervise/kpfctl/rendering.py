"""How kpfctl prints forwards: as tables and as documents."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import click

from kpf_supervise.kpfctl.ids import Forwards
from kpf_supervise.panel_state.cells import NOTHING, age, amount, local, pods, seconds_of

_Columns = dict[str, Callable[[dict[str, Any], float], str]]  # by title: the cell, from a forward and the time

COLUMNS: _Columns = {
    "ID": lambda each, _: each["id"],
    "STATE": lambda each, _: each["state"],
    "LOCAL": lambda each, _: local(each),
    "TARGET": lambda each, _: each["target"],
    "POD": lambda each, _: pods(each) or NOTHING,
    "AGE": lambda each, now: age(now - datetime.fromisoformat(each["since"]).timestamp()),
    "CONN": lambda each, _: str(each["connections"]),
}
WIDE: _Columns = {
    "NAMESPACE": lambda each, _: each["namespace"] or NOTHING,
    "CONTEXT": lambda each, _: each["context"] or NOTHING,
    "GROUPS": lambda each, _: ",".join(each["groups"]) or NOTHING,
    "RESTARTS": lambda each, _: str(each["restarts"]),
    "HELD": lambda each, _: str(each["held"]),
    "IN": lambda each, _: amount(each["bytesIn"]),
    "OUT": lambda each, _: amount(each["bytesOut"]),
    "LEASE": lambda each, now: age(seconds_of(each["leaseEnds"]) - now) if each["leaseEnds"] else NOTHING,
}


def row(forward: dict[str, Any], now: float, wide: bool) -> list[str]:
    """The cells of COLUMNS, with `wide` also of WIDE, and the error. `now` is in seconds since the epoch."""
    columns = COLUMNS | WIDE if wide else COLUMNS
    return [*(cell(forward, now) for cell in columns.values()), forward["error"] or ""]


def table(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    """Lines of text, with each cell but the last padded to its width."""
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(each, widths, strict=True)).rstrip() for each in rows]


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], no_headers: bool) -> list[int]:
    """Print it, and return the widths of its columns."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for each in table(rows if no_headers else [head, *rows], widths):
        click.echo(each)
    return widths


def document(output: str, forwards: Forwards) -> str:
    if output == "json":
        return json.dumps(forwards, indent=2, ensure_ascii=not takes_all()) + "\n"
    if output == "name":
        return "".join(f"{each['id']}\n" for each in forwards)
    import yaml

    return yaml.safe_dump(forwards, sort_keys=False, allow_unicode=takes_all(), explicit_start=True)


def takes_all() -> bool:
    """Whether stdout can encode every character. If not, JSON and YAML escape the others."""
    return sys.stdout.encoding.lower().startswith("utf")
