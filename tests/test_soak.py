"""A short soak, so that CI sees faults come upon faults. The long one is `make soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kubectls import KUBECTLS
from tests.soak import soak


@pytest.mark.long
async def test_faults_upon_faults_refuse_nobody_and_leave_nothing(tmp_path: Path) -> None:
    report = await soak(KUBECTLS[-1], tmp_path, 10, 2, 5)
    assert not report.failed, "\n".join(report.lines())
    assert report.requests["ok"] > 0


@pytest.mark.long
async def test_pods_that_come_and_go_cost_no_request(tmp_path: Path) -> None:
    report = await soak(KUBECTLS[-1], tmp_path, 6, 3, 5, "deleted,rollout,readiness")
    assert set(report.requests) == {"ok"}, "\n".join(report.lines())
