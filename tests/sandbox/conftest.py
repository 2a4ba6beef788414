"""The cluster of these tests, unless a module has its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kpf_supervise.sandbox import Cluster, Timing, open_cluster


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with open_cluster(
        tmp_path, Timing(create=0.01, ready=0.01, terminate=0.25, delete=0.05, collect=0.2)
    ) as cluster:
        yield cluster
