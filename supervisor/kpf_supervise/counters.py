"""What is counted of one forward as long as it is listed. It only grows. Imports only the standard library."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate, repeat

# Upper bounds, in seconds, of the times for which connections are held. A kubectl starts in 0.1 to 1; `hold` is 30 by
# default.
HELD = (0.01, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Unserved(StrEnum):
    """Why a connection ended without having been given a kubectl."""

    HOLD_OVER = "hold-over"  # it was held for `hold` seconds
    FAILED = "failed"  # the forward has failed, and another attempt would not help
    LEFT = "left"  # the client did not wait


class Histogram:
    """How often a time was at most each of HELD, or longer. Costs nothing until the first one."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self.total = 0.0  # seconds
        self._counts: list[int] = []

    def observe(self, seconds: float) -> None:
        if not self._counts:
            self._counts = [0] * (len(HELD) + 1)
        self._counts[bisect_left(HELD, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """How many were at most that long; the last one is infinity."""
        return zip((*HELD, float("inf")), accumulate(self._counts or repeat(0, len(HELD) + 1)), strict=True)


@dataclass(slots=True)
class Counters:
    connections: int = 0  # that clients have made
    bytes_in: int = 0  # from the client to the pod, as they were read last: those that are sent again count once
    held: Histogram = field(default_factory=Histogram)  # times for which connections waited, each time they did
    unserved: dict[str, int] = field(default_factory=dict)  # connections, by Unserved
    losses: dict[str, int] = field(default_factory=dict)  # tunnels that stopped serving, by cause
    moves: dict[str, int] = field(default_factory=dict)  # to another pod, by why the last one was left


def count(counts: dict[str, int], key: str) -> None:
    counts[key] = counts.get(key, 0) + 1
