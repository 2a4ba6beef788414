"""Which forwards are listed, and who lists each: the file, kpfctl, or a source that adds and removes its own. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kpf_supervise.model import Forward
from kpf_supervise.origin import Origin

_NAMED = 3  # ids in one sentence


class Listed(NamedTuple):
    origin: Origin
    forward: Forward


class Origins:
    """What each origin wants to be listed. Each id is listed once, by the first origin that wants it."""

    def __init__(self) -> None:
        self._wanted: dict[Origin, dict[str, Forward]] = {}
        self._told: set[tuple[Origin, str]] = set()  # refused

    def __contains__(self, origin: object) -> bool:
        """Whether it has ever listed anything, even if that was nothing."""
        return origin in self._wanted

    def put(self, wanted: Mapping[Origin, Iterable[Forward]]) -> list[str]:
        """The forwards of these origins are exactly these from now on. Returns what the user should know: which ids are
        refused, once each, and which forwards of kpfctl the file replaces."""
        for origin, forwards in wanted.items():
            mine = self._wanted[origin] = {}
            for forward in forwards:
                mine.setdefault(forward.id, forward)
        return [*self._replaced(), *self._refused()]

    def add(self, origin: Origin, forward: Forward) -> None:
        self._wanted.setdefault(origin, {})[forward.id] = forward

    def drop(self, origin: Origin, id: str) -> None:
        self._wanted.get(origin, {}).pop(id, None)

    def listed(self) -> dict[str, Listed]:
        """By id: those of the file first, in its order."""
        found: dict[str, Listed] = {}
        for origin in Origin:
            for id, forward in self._wanted.get(origin, {}).items():
                found.setdefault(id, Listed(origin, forward))
        return found

    def _replaced(self) -> list[str]:
        """The file takes over what kpfctl started; it does not come back when the file drops it."""
        file, started = self._wanted.get(Origin.FILE, {}), self._wanted.get(Origin.KPFCTL, {})
        both = file.keys() & started.keys()
        taken = {id: started.pop(id) for id in list(started) if id in both}
        return [
            f"{id}: the file declares it now, which replaces the one that kpfctl started"
            for id, forward in taken.items()
            if file[id] != forward
        ]

    def _refused(self) -> list[str]:
        listed = self.listed()
        refused = {
            (origin, id): listed[id].origin
            for origin, wanted in self._wanted.items()
            for id in wanted
            if listed[id].origin is not origin
        }
        told, self._told = self._told, set(refused)
        new: dict[tuple[Origin, Origin], list[str]] = {}
        for (origin, id), other in refused.items():
            if (origin, id) not in told:
                new.setdefault((origin, other), []).append(id)
        return [_sentence(origin, other, ids) for (origin, other), ids in new.items()]


def _sentence(origin: Origin, other: Origin, ids: list[str]) -> str:
    named = ", ".join(ids[:_NAMED]) + (f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else "")
    one = len(ids) == 1
    what = "a forward of that name is" if one else "forwards of these names are"
    holder = f"{what} in the file" if other is Origin.FILE else f"{what} listed by {other}"
    return f"{origin}: {named} {'is' if one else 'are'} left out: {holder} already"
