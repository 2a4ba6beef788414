"""What the user is told about a mistake: where it is, what is wrong, and how to fix it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class Mistake(ValueError):
    """What is wrong with a text (no full stop), and how to fix it (full sentences)."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(f"{message}. {fix}")
        self.message = message
        self.fix = fix


@dataclass(frozen=True, slots=True)
class FileMistake:
    """One mistake in a file. Line and column count from 1; both are 0 for the file as a whole."""

    file: str
    line: int
    column: int
    key: str  # "forwards.web.ports[1]"; "" if there is none
    message: str
    fix: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return ": ".join(filter(None, (place, self.key, f"{self.message}. {self.fix}")))


class ConfigError(Exception):
    """All mistakes in a configuration file, in file order. str() gives one line per mistake."""

    def __init__(self, problems: Iterable[FileMistake]) -> None:
        unique: dict[tuple[int, int, str], FileMistake] = {}  # a mistake in an anchored block is found at each use
        for problem in sorted(problems, key=lambda problem: (problem.line, problem.column)):
            unique.setdefault((problem.line, problem.column, problem.message), problem)
        self.problems = tuple(unique.values())
        super().__init__("\n".join(map(str, self.problems)))
