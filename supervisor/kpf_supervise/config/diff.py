"""What an edit of the file changes: which forwards stop, which start, and that all others stay. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kpf_supervise.model import Forward


@dataclass(frozen=True, slots=True)
class Plan:
    """`stop` comes first, so that a local port may pass from one forward to another."""

    stop: tuple[str, ...]  # ids: gone from the file, or changed
    start: tuple[Forward, ...]  # new in the file, or changed

    @property
    def removed(self) -> set[str]:
        return set(self.stop) - {forward.id for forward in self.start}


def plan(running: Mapping[str, Forward | None], wanted: Iterable[Forward]) -> Plan:
    """From what is declared now to what the file says. A forward whose settings are the same is in neither list; one
    that is None now is to be begun anew whatever its settings."""
    new = {forward.id: forward for forward in wanted}
    return Plan(
        stop=tuple(id for id, forward in running.items() if new.get(id) != forward),
        start=tuple(forward for id, forward in new.items() if running.get(id) != forward),
    )
