"""How long a forward is kept that somebody has asked for."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from kpf_supervise.instance.leases import next_end, over, renewed
from kpf_supervise.model import TEMPLATE, Connection, Status
from kpf_supervise.origin import Origin


def status(id: str, lease: float | None, **more: Any) -> Status:
    return Status(forward=replace(TEMPLATE, id=id), origin=more.pop("origin", Origin.KPFCTL), lease=lease, **more)


def test_a_lease_is_renewed_and_never_shortened_and_what_has_none_gets_none() -> None:
    assert renewed(10.0, 20.0) == 20.0
    assert renewed(20.0, 10.0) == 20.0
    assert renewed(None, 10.0) is None


KEPT = [
    status("file", 5.0, origin=Origin.FILE),  # which declares it since
    status("started", None),
    status("used", 5.0, open=[Connection("127.0.0.1:1", 0.0)]),
    status("awaited", 5.0),
]


def test_a_forward_is_over_when_nothing_but_an_ended_lease_kept_it() -> None:
    forwards = [*KEPT, status("short", 5.0), status("long", 6.0)]
    assert over(forwards, {"awaited"}, 4.9) == []
    assert over(forwards, {"awaited"}, 5.0) == ["short"]
    assert over(forwards, set(), 6.0) == ["awaited", "short", "long"]


def test_the_next_end_is_that_of_a_forward_that_only_its_lease_keeps() -> None:
    assert next_end(KEPT, {"awaited"}) == math.inf
    assert next_end([], ()) == math.inf
    assert next_end([*KEPT, status("long", 6.0)], {"awaited"}) == 6.0


@pytest.mark.parametrize("now", [0.0, 4.9, 5.0, 100.0])
def test_whoever_sleeps_until_the_next_end_finds_something_to_stop(now: float) -> None:
    """Otherwise the task that sleeps so would run in circles."""
    forwards = [*KEPT, status("short", 5.0)]
    assert bool(over(forwards, {"awaited"}, now)) == (next_end(forwards, {"awaited"}) <= now)
