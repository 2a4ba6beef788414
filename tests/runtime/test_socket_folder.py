"""The folders of the sockets of `kubectl proxy`: private, short, and removed by the next instance if one was killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kpf_supervise.model import LONGEST_SOCKET
from kpf_supervise.runtime.socket_folder import socket_folder


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    base = tmp_path_factory.mktemp("s")
    base.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    return base / "kpf-supervise"


def test_each_is_private_and_removed_whatever_its_mode_is_by_then(runtime: Path) -> None:
    with socket_folder() as one, socket_folder() as two:
        assert sorted(runtime.iterdir()) == sorted([one, two])
        assert one.stat().st_mode & 0o777 == 0o700
        (one / "s").touch()
        one.chmod(0o500)
    assert list(runtime.iterdir()) == []


def test_those_of_a_killed_instance_are_removed_by_the_next_one(runtime: Path) -> None:
    left = runtime / "api-12345678"
    left.mkdir(parents=True)
    (left / "s").touch()
    with socket_folder() as own:
        assert list(runtime.iterdir()) == [own]


def test_where_none_can_be_made_another_place_serves(runtime: Path) -> None:
    runtime.write_text("a file")
    with socket_folder() as place:
        assert place.parent == Path(f"/tmp/kpf-supervise-{os.getuid()}")
        assert len(os.fsencode(place / "s")) < LONGEST_SOCKET
    assert not place.exists()
