"""Until when a forward that `kpfctl ensure` has started is kept: its lease. Pure.

A forward without a lease, such as one of the file, is not concerned; nor is one that the file declares meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable

from kpf_supervise.model import Status
from kpf_supervise.origin import Origin


def renewed(lease: float | None, until: float) -> float | None:
    """The lease of a forward that somebody wants until then. No one's wish shortens that of another."""
    return None if lease is None else max(lease, until)


def over(statuses: Iterable[Status], awaited: Container[str], now: float) -> list[str]:
    """The ids of those that are to be stopped: the lease has ended, nobody waits for them to become active (`awaited`),
    and no connection is open."""
    return [each.forward.id for each in statuses if _only_leased(each, awaited) <= now]


def next_end(statuses: Iterable[Status], awaited: Container[str]) -> float:
    """When the next one is over, if nothing changes until then; infinite if none is."""
    return min((_only_leased(each, awaited) for each in statuses), default=math.inf)


def _only_leased(status: Status, awaited: Container[str]) -> float:
    """The end of a lease that alone keeps the forward; infinite if something else keeps it."""
    kept = status.origin is not Origin.KPFCTL or status.open or status.forward.id in awaited
    return math.inf if kept or status.lease is None else status.lease
