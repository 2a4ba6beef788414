"""Shared by the benchmarks: figures of several rounds as rows of a Markdown table, and the cost of a process."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psutil


@dataclass
class Row:
    """One line of a table: a figure per column and round. Those of one round are measured right after each other."""

    name: str
    unit: str
    figures: dict[str, list[float]] = field(default_factory=dict)
    compared: bool = True  # whether a ratio to the first column is meaningful

    def add(self, column: str, figure: float) -> None:
        self.figures.setdefault(column, []).append(figure)

    def cells(self, columns: Sequence[str]) -> list[str]:
        """The medians with their range. All but the first add the median and range of their ratios to the first."""
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
    """Median (minimum–maximum), or only the median if all figures are equal."""
    figures = sorted(figures)
    middle, least, greatest = map(short, (statistics.median(figures), figures[0], figures[-1]))
    return middle if least == greatest else f"{middle} ({least}–{greatest})"


def short(figure: float) -> str:
    """Three digits, without an exponent."""
    return f"{figure:.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def table(title: str, columns: Sequence[str], rows: Iterable[Row]) -> str:
    """A table in Markdown. The other columns are compared with the first."""
    head = f"| {title} | {' | '.join(columns)} |\n| --- |{' --: |' * len(columns)}\n"
    return head + "".join(f"| {row.name} | {' | '.join(row.cells(columns))} |\n" for row in rows)


def family(pid: int) -> list[psutil.Process]:
    """A process and all its descendants."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def memory(processes: Iterable[psutil.Process]) -> float:
    """Their total memory in MiB. Shared pages count once (PSS), or on macOS not at all (USS)."""
    total = 0
    for process in processes:
        with suppress(psutil.Error, FileNotFoundError):
            info = process.memory_full_info()
            total += getattr(info, "pss", info.uss)
    return total / 2**20


def cpu_time(processes: Iterable[psutil.Process]) -> float:
    """Their total CPU time so far, in seconds."""
    total = 0.0
    for process in processes:
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total
