"""Computes what an edit of the file changes: which forwards stop and which start. All others keep running. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from kpf_supervise.model import Forward


@dataclass(frozen=True, slots=True)
class Plan:
    """`stop` is applied first, so that a local port can move from one forward to another."""

    stop: tuple[str, ...]  # ids: removed from the file, or changed
    start: tuple[Forward, ...]  # new in the file, or changed

    @property
    def removed(self) -> set[str]:
        return set(self.stop) - {forward.id for forward in self.start}


def plan(running: Mapping[str, Forward | None], wanted: Iterable[Forward]) -> Plan:
    """The plan that leads from the running forwards to the wanted ones. A forward with unchanged settings, its groups
    aside, is in neither list. A running forward given as None is restarted whatever its settings."""
    new = {forward.id: forward for forward in wanted}
    return Plan(
        stop=tuple(id for id, forward in running.items() if not _same(forward, new.get(id))),
        start=tuple(forward for id, forward in new.items() if not _same(running.get(id), forward)),
    )


def _same(running: Forward | None, wanted: Forward | None) -> bool:
    if running is None or wanted is None:
        return False
    return running == wanted or replace(running, groups=wanted.groups) == wanted
