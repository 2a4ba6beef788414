from __future__ import annotations

import pytest

from kpf_supervise.panel_state.cells import age, amount, lease, middle, spark


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m"), (192, "3m12s"), (720, "12m"), (7500, "2h5m"), (32400, "9h"), (1e6, "11d")],
)
def test_ages(seconds: float, text: str) -> None:
    assert age(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (1540, "1.5k"), (20_100_000, "20M"), (3.14e9, "3.1G"), (2e13, "20.0T")],
)
def test_amounts(count: float, text: str) -> None:
    assert amount(count) == text


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [("web", 3, "web"), ("web-5448-pf78l", 9, "web-…f78l"), ("abc", 2, "a…"), ("abc", 1, "…"), ("abc", 0, "")],
)
def test_the_middle_is_left_out(text: str, width: int, shown: str) -> None:
    assert middle(text, width) == shown


def test_sparks() -> None:
    assert spark([0, 50, 100], 8) == " ▄█"
    assert spark([100, 0, 0], 2) == ""
    assert spark([1e9, 1], 8) == "█▁"


def test_leases() -> None:
    ends = {"leaseEnds": "2026-01-01T00:30:00.000Z"}
    now = 1767225600.0  # half an hour before
    assert lease({"leaseEnds": None}, now) is None
    assert lease(ends, now) == "ends in 30m"
    assert lease(ends, now + 1800) == "ended; kept while it is in use"
