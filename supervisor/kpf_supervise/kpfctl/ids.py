"""Which forwards are meant by the words in the place of ids. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from kpf_supervise.control.client import Refused
from kpf_supervise.control.methods import no_such_forward

Forwards = list[dict[str, Any]]


def resolve(words: Sequence[str], forwards: Forwards) -> list[str]:
    """The ids that the words mean, each once, in the order of the words. A word is an id; else a name, for all its
    ports (`web` is web/http and web/9090); else the local port of a forward; else a glob, as in a shell ('web/*').
    Raises Refused, which tells all words that mean no forward."""
    found = {word: meant(word, forwards) for word in words}
    known = [each["id"] for each in forwards]
    if wrong := [no_such_forward(word, known) for word, ids in found.items() if not ids]:
        raise Refused("\n".join(wrong))
    return list(dict.fromkeys(id for ids in found.values() for id in ids))


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


def selected(words: Sequence[str], forwards: Forwards) -> Forwards:
    """The forwards that the words mean, in their own order; all of them without a word. Raises Refused."""
    ids = resolve(words, forwards)
    return [each for each in forwards if each["id"] in ids] if words else forwards
