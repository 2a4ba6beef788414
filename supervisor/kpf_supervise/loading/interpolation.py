"""Variables in the values of the file, as compose has them: `${NAME}`, `$NAME`, with a default (`:-`, `-`), an error
(`:?`, `?`) or a replacement (`:+`, `+`), nested in these, and `$$` for a dollar sign. Pure.

Unlike in compose, a variable that is not set and has no default is a mistake: an empty name or port helps nobody.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kpf_supervise.config.errors import Mistake
from kpf_supervise.text import quote, shorten

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")
_HOW = "Write ${NAME}, ${NAME:-default} or ${NAME:?message}, and $$ for a dollar sign."
_DEEPEST = 20
_PIECE = 4  # characters of a variable's value that no message may show


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    operator: str  # "" if it has none
    word: _Parts  # right of the operator
    written: str  # the word as it stands in the file


_Parts = tuple[str | _Variable, ...]


@dataclass(slots=True)
class Expanded:
    """The result, the text as it stands in the file, and what came from the environment."""

    written: str
    text: str = ""
    values: dict[str, str] = field(default_factory=dict)  # by name

    def told(self, mistake: Mistake) -> Mistake:
        """A mistake in the result, as one in the file: with the variables, and without what they hold. Somebody may
        have named one with a secret in it."""
        message, fix = mistake.message, mistake.fix
        for name, value in sorted(self.values.items(), key=lambda each: -len(each[1])):
            if len(value) >= _PIECE:
                message, fix = (text.replace(value, f"${{{name}}}") for text in (message, fix))
        if any(_shows(f"{message} {fix}", value) for value in self.values.values()):
            message, fix = "what the environment gives does not belong here", "Check the value of each variable in it."
        return Mistake(f"{message}, from {quote(self.written)}", fix)


def _shows(text: str, value: str) -> bool:
    folded, value = text.casefold(), value.casefold()
    return any(value[at : at + _PIECE] in folded for at in range(len(value) - _PIECE + 1))


def expand(text: str, environment: Mapping[str, str]) -> Expanded:
    """`text` with the values of its variables. Raises Mistake."""
    found = Expanded(text)
    parts, _ = _parts(text, 0, 0)
    found.text = _value(parts, environment, found.values)
    if not found.text.isprintable():
        message = f"the value of {quote(text)} has a line break or another invisible character"
        raise Mistake(message, "Check the value of each variable in it.")
    return found


def _parts(text: str, at: int, depth: int) -> tuple[_Parts, int]:
    """What the text consists of, from `at` to its end, or with a depth to the brace that closes the word there; and
    the place of that end."""
    if depth > _DEEPEST:
        raise Mistake("variables that are nested too deeply", "Give some of them plain defaults.")
    parts: list[str | _Variable] = []
    stop = re.compile(r"[$}]" if depth else r"\$")
    while found := stop.search(text, at):
        parts.append(text[at : found.start()])
        at = found.start()
        if text[at] == "}":
            return tuple(parts), at
        after = text[at + 1 : at + 2]
        if after == "$":
            parts.append("$")
            at += 2
        elif after == "{":
            variable, at = _braced(text, at, depth)
            parts.append(variable)
        elif name := _NAME.match(text, at + 1):
            parts.append(_Variable(name[0], "", (), ""))
            at = name.end()
        else:
            raise Mistake(f"a dollar sign that begins no variable: {quote(text[at:])}", _HOW)
    if depth:
        raise Mistake(f"a variable that is never closed: {quote(text)}", "Add the }.")
    return (*parts, text[at:]), len(text)


def _braced(text: str, start: int, depth: int) -> tuple[_Variable, int]:
    """The variable whose `${` stands at `start`, and where the text goes on after it."""
    name = _NAME.match(text, start + 2)
    if name is None:
        raise Mistake(f"{quote(text[start:])} names no variable", _HOW)
    word: _Parts = ()
    at, operator, written = name.end(), "", ""
    if found := _OPERATOR.match(text, at):
        operator = found[0]
        word, at = _parts(text, found.end(), depth + 1)
        written = text[found.end() : at]
    if text[at : at + 1] != "}":
        if at == len(text):
            raise Mistake(f"a variable that is never closed: {quote(text[start:])}", "Add the }.")
        raise Mistake(f"{quote(text[start:])} is not how a variable is written", _HOW)
    return _Variable(name[0], operator, word, written), at + 1


def _value(parts: _Parts, environment: Mapping[str, str], values: dict[str, str]) -> str:
    return "".join(part if isinstance(part, str) else _of(part, environment, values) for part in parts)


def _of(variable: _Variable, environment: Mapping[str, str], values: dict[str, str]) -> str:
    """Its value; what comes from the environment is noted in `values`."""
    name, value = variable.name, environment.get(variable.name)
    counts = value is not None and (value != "" or not variable.operator.startswith(":"))
    match variable.operator[-1:]:
        case "+":
            return _value(variable.word, environment, values) if counts else ""
        case "-" if not counts:
            return _value(variable.word, environment, values)
    if value is None or not counts:
        said = variable.written.replace("$$", "$") if variable.operator else ""
        message = f"the variable {shorten(name)} is {'not set' if value is None else 'empty'}"
        fix = f"Set it, or give it a default: ${{{shorten(name)}:-default}}."
        raise Mistake(f"{message}: {shorten(said)}" if said else message, fix)
    values[name] = value
    return value
