"""What was found in the file of another tool, as plain values. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Of shells, make, compose files and Go templates.
VARIABLE = re.compile(r"\$\{[^}]*\}?|\$\(.*\)?|\$\$?[A-Za-z_]\w*|\$[0-9@*#?!$-]|`[^`]*`?|\{\{.*?\}\}|%[A-Za-z_]\w*%")


@dataclass(slots=True, kw_only=True)
class Entry:
    """A forward, or all services of a namespace, as our file would declare it. The values of `options` are texts and
    lists of texts."""

    where: str  # it stands: "line 12", or a path such as "portForward[0]"
    name: str  # as an id, which may have to be changed; empty for services
    options: dict[str, Any] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)  # what of it can't be kept
    refused: str = ""  # why it can't be a forward of ours; empty if it can


@dataclass(slots=True, kw_only=True)
class Found:
    """All that a file declares."""

    tool: str  # of which the file is
    head: tuple[str, ...] = ()  # comments, instead of the one that names the file that is imported
    left: str = "not kept"  # of what can't be a forward of ours
    defaults: dict[str, str] = field(default_factory=dict)  # options for all forwards
    forwards: list[Entry] = field(default_factory=list)
    services: list[Entry] = field(default_factory=list)
    top: dict[str, str] = field(default_factory=dict)  # options for the whole file
    lost: list[tuple[str, str]] = field(default_factory=list)  # what else can't be kept: where it stands, and what


def unkept(group: Mapping[str, Any], kept: Iterable[str]) -> list[str]:
    """A text on the keys of a group that have a value and are not kept; empty if there are none."""
    nothing: tuple[Any, ...] = (None, "", "false", "0", [], {})
    names = [key for key, value in group.items() if key not in kept and value not in nothing]
    return [", ".join(names)] if names else []


def ports(local: str, remote: str) -> str:
    """`LOCAL:REMOTE`. Without a local port, or with 0, any free one."""
    return f"{'' if local in ('', '0') else local}:{remote}"
