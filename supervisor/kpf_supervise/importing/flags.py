"""The flags of a command line as Go's pflag reads them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Flags:
    """`values` and `switches` by the long names of the flags, as far as they are known."""

    arguments: list[str] = field(default_factory=list)
    values: dict[str, list[str]] = field(default_factory=dict)
    switches: list[str] = field(default_factory=list)


def read_flags(words: Sequence[str], takes_value: Mapping[str, str]) -> Flags:
    """`takes_value`: the long names of the flags that take a value, with their one-letter forms. `--flag value`,
    `--flag=value`, `-f value`, `-f=value` and `-fvalue` are the same; a flag that is not known is a switch, unless it
    has a `=`."""
    letters = {letter: name for name, letter in takes_value.items() if letter}
    found = Flags()
    rest = iter(words)
    for word in rest:
        if word == "--":
            found.arguments += rest
        elif word.startswith("--"):
            name, given, value = word[2:].partition("=")
            if given:
                found.values.setdefault(name, []).append(value)
            elif name in takes_value:
                found.values.setdefault(name, []).append(next(rest, ""))
            else:
                found.switches.append(name)
        elif word.startswith("-") and len(word) > 1:
            _short(found, word[1:], letters, rest)
        else:
            found.arguments.append(word)
    return found


def _short(found: Flags, word: str, letters: Mapping[str, str], rest: object) -> None:
    """`-n x`, `-nx`, `-n=x`; switches may stand before: `-An x`."""
    for at, letter in enumerate(word):
        if letter in letters:
            value = word[at + 1 :].removeprefix("=") or next(rest, "")  # type: ignore[call-overload]
            found.values.setdefault(letters[letter], []).append(value)
            return
        found.switches.append(letter)
