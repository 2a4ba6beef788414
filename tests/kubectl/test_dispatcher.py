"""Which kubectls a dispatcher picks from."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpf_supervise.kubectl.dispatcher import dispatched_by


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("kubectl", "kubectl.1.9", "kubectl.1.27", "kubectl.1.33", "kubectl.1.33.sig", "kubectl.txt"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "kubectl.1.34").write_text("it can't be run")
    return tmp_path


def test_they_lie_beside_it_and_are_sorted_by_version(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    link = tmp_path_factory.mktemp("bin") / "k"
    link.symlink_to(folder / "kubectl")
    found = dispatched_by(str(link))
    assert [each.version for each in found] == [(1, 9), (1, 27), (1, 33)]
    assert found[-1].path == str(folder / "kubectl.1.33")


def test_one_of_them_is_none(folder: Path) -> None:
    assert dispatched_by(str(folder / "kubectl.1.33")) == []
    assert dispatched_by("nosuch-kubectl") == []
