from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kpf_supervise.events.serialize import line, port_forward
from kpf_supervise.model import TEMPLATE, Cause, Problem, State, Status
from kpf_supervise.panel.tables import age, amount, local, row, table

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()


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


def test_rows() -> None:
    problem = Problem(Cause.FORBIDDEN, "you may not")
    failed = port_forward(Status(forward=TEMPLATE, state=State.FAILED, since=NOW - 65, problem=problem))
    active = port_forward(Status(forward=TEMPLATE, state=State.ACTIVE, since=NOW, port=8080, pod="web-1"))
    rows = [row(each, NOW, wide=False) for each in (failed, active)]
    assert rows[0][1:] == ["failed", "–", "pod/", "–", "1m5s", "0", "you may not"]
    assert rows[1][1:] == ["active", "localhost:8080", "pod/", "web-1", "0s", "0", ""]
    assert [len(row(failed, NOW, wide=wide)) for wide in (False, True)] == [8, 14]
    assert table([["a", "b", "c"], ["dd", "", ""]], [2, 3, 1]) == ["a   b    c", "dd"]
    assert local(active | {"address": "::1"}) == "[::1]:8080"


def test_a_line_of_the_log_is_in_local_time() -> None:
    text = line({"time": "2026-11-23T12:00:00.000Z", "event": "notice", "message": "m"})
    clock = datetime(2026, 11, 23, 12, tzinfo=UTC).astimezone().strftime("%H:%M:%S")
    assert text == f"{clock} -                notice        m"
