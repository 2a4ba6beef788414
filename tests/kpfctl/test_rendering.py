from __future__ import annotations

from datetime import UTC, datetime

from kpf_supervise.events.serialize import port_forward
from kpf_supervise.kpfctl.rendering import row, table
from kpf_supervise.model import TEMPLATE, Cause, Problem, State, Status
from kpf_supervise.panel_state.cells import local

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()


def test_rows() -> None:
    problem = Problem(Cause.FORBIDDEN, "you may not")
    failed = port_forward(Status(forward=TEMPLATE, state=State.FAILED, since=NOW - 65, problem=problem))
    active = port_forward(Status(forward=TEMPLATE, state=State.ACTIVE, since=NOW, port=8080, pods=("web-1",)))
    rows = [row(each, NOW, wide=False) for each in (failed, active)]
    assert rows[0][1:] == ["failed", "–", "pod/", "–", "1m5s", "0", "you may not"]
    assert rows[1][1:] == ["active", "localhost:8080", "pod/", "web-1", "0s", "0", ""]
    assert [len(row(failed, NOW, wide=wide)) for wide in (False, True)] == [8, 16]
    leased = port_forward(Status(forward=TEMPLATE, state=State.ACTIVE, since=NOW, lease=NOW + 1800))
    assert [row(each, NOW, wide=True)[-2] for each in (active, leased)] == ["–", "30m"]
    assert row(active | {"pods": ["web-1", "web-2"]}, NOW, wide=False)[4] == "2 pods"
    assert table([["a", "b", "c"], ["dd", "", ""]], [2, 3, 1]) == ["a   b    c", "dd"]
    assert local(active | {"address": "::1"}) == "[::1]:8080"
