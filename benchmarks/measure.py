"""What the benchmarks share: figures of several rounds as rows of a Markdown table, and what a process costs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psutil


@dataclass
class Row:
    """One line of a table: for each column a figure per round, those of one round measured right after each other."""

    name: str
    unit: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    compared: bool = True  # whether a ratio to the first column says something

    def add(self, column: str, figure: float) -> None:
        self.figures.setdefault(column, []).append(figure)

    def cells(self, columns: Sequence[str]) -> list[str]:
        """The medians with their range; beside each but the first, the median and range of the ratios to that."""
        base = self.figures.get(columns[0], [])
        shown = []
        for column in columns:
            figures = self.figures.get(column, [])
            if not figures:
                shown.append("–")
                continue
            text = f"{spread(figures)} {self.unit}".rstrip()
            if self.compared and column != columns[0] and len(figures) == len(base) and all(base):
                text += f"; ×{spread([figure / raw for figure, raw in zip(figures, base, strict=True)])}"
            shown.append(text)
        return shown


def spread(figures: Iterable[float]) -> str:
    """Median (least–greatest); the median alone where they are all the same."""
    figures = sorted(figures)
    middle, least, greatest = map(short, (statistics.median(figures), figures[0], figures[-1]))
    return middle if least == greatest else f"{middle} ({least}–{greatest})"


def short(figure: float) -> str:
    """Three digits, but no exponents."""
    return f"{figure:.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def table(title: str, columns: Sequence[str], rows: Iterable[Row]) -> str:
    """In Markdown. The first column is what the others are compared to."""
    head = f"| {title} | {' | '.join(columns)} |\n| --- |{' --: |' * len(columns)}\n"
    return head + "".join(f"| {row.name} | {' | '.join(row.cells(columns))} |\n" for row in rows)


def family(pid: int) -> list[psutil.Process]:
    """A process and all that have come of it."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def memory(processes: Iterable[psutil.Process]) -> float:
    """MiB that they take together, with each shared page counted once (PSS; on macOS not at all: USS)."""
    total = 0
    for process in processes:
        with suppress(psutil.Error, FileNotFoundError):
            info = process.memory_full_info()
            total += getattr(info, "pss", info.uss)
    return total / 2**20


def cpu_time(processes: Iterable[psutil.Process]) -> float:
    """Seconds that they have used so far."""
    total = 0.0
    for process in processes:
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total
