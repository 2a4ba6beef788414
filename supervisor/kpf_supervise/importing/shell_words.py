"""The simple commands in a shell script, a Makefile, a Procfile or any other text with command lines. Pure.

This is no shell: what a variable or a substitution stands for is not known, and stays in the word as it is written. A
quote that is not closed in its line is an apostrophe.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

_SEPARATORS = frozenset(";&|()")
_NAME = re.compile(r"\$\$?(?:[A-Za-z_]\w*|[0-9@*#?!-])")
_FIRST = 0xE000  # the private use area of Unicode: each character stands for one substitution of the line
_MOST = 6000  # of them in one line
_DEEPEST = 8  # substitutions and quoted commands in one another


@dataclass(frozen=True, slots=True)
class Command:
    line: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line whose quotes can't be read."""

    line: int
    text: str


def commands(text: str, first: int = 1, depth: int = 0) -> Iterator[Command | Unreadable]:
    """In order, with those inside substitutions. Line numbers count from `first`. Commands that are words of others,
    as in `sh -c "…"`, are not looked for."""
    for line, logical in _logical_lines(text, first):
        prepared, substitutions = _prepare(logical)
        for inner in substitutions:
            if depth < _DEEPEST and inside(inner):
                yield from commands(inside(inner), line, depth + 1)
        try:
            lexer = shlex.shlex(prepared, posix=True, punctuation_chars=";&|()<>")
            lexer.whitespace_split = True
            lexer.commenters = ""
            tokens = list(lexer)
        except ValueError:
            yield Unreadable(line, logical)
            continue
        for words in _simple(tokens):
            yield Command(line, tuple(_restore(word, substitutions) for word in words))


def inside(substitution: str) -> str:
    """The commands of `$(…)` (in a Makefile `$$(…)`), or in backquotes; empty for a variable."""
    bare = substitution.lstrip("$")
    if bare.startswith("("):
        return bare[1:-1]
    return bare.strip("`") if bare.startswith("`") else ""


def _logical_lines(text: str, first: int) -> Iterator[tuple[int, str]]:
    """A backslash at the end of a line joins it with the next one."""
    whole, began = "", first
    for line, part in enumerate(text.splitlines(), first):
        whole += part
        stripped = whole.rstrip(" \t")
        if stripped.endswith("\\") and not stripped.endswith("\\\\"):
            whole = stripped[:-1] + " "
            continue
        yield began, whole
        whole, began = "", line + 1
    if whole:
        yield began, whole


def _prepare(line: str) -> tuple[str, list[str]]:
    """The line without its comment, with a placeholder for each substitution, and these."""
    line = "".join("\N{REPLACEMENT CHARACTER}" if 0xE000 <= ord(char) <= 0xF8FF else char for char in line)
    made: list[str] = []
    substitutions: list[str] = []
    at, quote = 0, ""
    while at < len(line):
        char = line[at]
        length = 1
        if char == "\\" and quote != "'":
            length = 2
        elif char in "$`" and quote != "'" and (found := _substitution(line, at)) and len(substitutions) < _MOST:
            made.append(chr(_FIRST + len(substitutions)))
            substitutions.append(found)
            at += len(found)
            continue
        elif char == quote:
            quote = ""
        elif char in "'\"" and not quote:
            if char not in line[at + 1 :]:
                made.append("\\")
            else:
                quote = char
        elif char == "#" and not quote and (at == 0 or line[at - 1] in " \t;&|()"):
            break
        made.append(line[at : at + length])
        at += length
    return "".join(made), substitutions


def _substitution(line: str, at: int) -> str:
    """The variable or substitution that begins there; empty if none does."""
    if line[at] == "`":
        end = line.find("`", at + 1)
        return line[at : end + 1] if end > 0 else ""
    for opening, closing in ("${", "}"), ("$(", ")"):
        if line.startswith(opening, at) or line.startswith(f"${opening}", at):
            depth = 0
            for end in range(at, len(line)):
                depth += (line[end] == opening[1]) - (line[end] == closing)
                if line[end] == closing and depth == 0:
                    return line[at : end + 1]
            return ""
    found = _NAME.match(line, at)
    return found[0] if found else ""


def _restore(word: str, substitutions: list[str]) -> str:
    return "".join(
        substitutions[ord(char) - _FIRST] if _FIRST <= ord(char) < _FIRST + len(substitutions) else char
        for char in word
    )


def _simple(tokens: list[str]) -> Iterator[list[str]]:
    """The commands between separators, without redirections."""
    words: list[str] = []
    skip = False
    for token in tokens:
        if set(token) <= {*_SEPARATORS, "<", ">"}:
            if "<" in token or ">" in token:
                if words and len(words[-1]) == 1 and words[-1].isdigit():
                    words.pop()  # 2>/dev/null
                skip = True
                continue
            if words:
                yield words
            words = []
        elif not skip:
            words.append(token)
        skip = False
    if words:
        yield words
