"""Which forwards are meant by the words in the place of ids. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from kpf_supervise.control.client import Refused
from kpf_supervise.control.methods import no_such_forward
from kpf_supervise.text import quote

Forwards = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Words:
    """What stands in the place of ids, and the groups that the options --group name."""

    ids: Sequence[str] = ()
    groups: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.ids or self.groups)

    def __str__(self) -> str:
        return " ".join([*self.ids, *(f"--group {group}" for group in self.groups)])

    def mean(self, forward: dict[str, Any]) -> bool:
        return any(meant(word, [forward]) for word in self.ids) or not {*self.groups}.isdisjoint(forward["groups"])


def resolve(words: Words, forwards: Forwards) -> list[str]:
    """The ids that the words mean, each once, in the order of the words. A word is an id; else a name, for all its
    ports (`web` is web/http and web/9090); else the local port of a forward; else a glob, as in a shell ('web/*').
    Those of the groups follow. Raises Refused, which tells all words and groups that mean no forward."""
    found = {word: meant(word, forwards) for word in words.ids}
    known = [each["id"] for each in forwards]
    wrong = [no_such_forward(word, known) for word, ids in found.items() if not ids]
    groups = sorted({group for each in forwards for group in each["groups"]})
    for group in words.groups:
        if group not in groups:
            wrong.append(f"no forward is in the group {quote(group)}. There is: {', '.join(groups) or 'none'}")
    if wrong:
        raise Refused("\n".join(wrong))
    of_groups = [each["id"] for each in forwards if not {*words.groups}.isdisjoint(each["groups"])]
    return list(dict.fromkeys([*(id for ids in found.values() for id in ids), *of_groups]))


def meant(word: str, forwards: Forwards) -> list[str]:
    """The ids that one word means; empty if there are none."""
    known = [each["id"] for each in forwards]
    if word in known:
        return [word]
    return (
        [id for id in known if id.startswith(f"{word}/")]
        or [each["id"] for each in forwards if each["localPort"] and str(each["localPort"]) == word]
        or [id for id in known if fnmatchcase(id, word)]
    )


def selected(words: Words, forwards: Forwards) -> Forwards:
    """The forwards that the words mean, in their own order; all of them without a word. Raises Refused."""
    ids = resolve(words, forwards)
    return [each for each in forwards if each["id"] in ids] if words else forwards
