"""Where an instance and kpfctl look for each other."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kpf_supervise.control.unix_socket import control_socket
from kpf_supervise.model import LONGEST_SOCKET, TEMPLATE, Cluster
from kpf_supervise.runtime import paths
from kpf_supervise.runtime.paths import name_of, runtime_folder, socket_of

PID = "4194304"  # as long as one can be
FILES = [Path("shop.yaml"), Path("a-name-as-long-as-names-of-files-may-be.yaml"), Path("🏪" * 40), Path("\udcff" * 30)]


@pytest.fixture(params=[0, 10, 20, 40, 60, 150])
def temporary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of temporary files whose path is so much longer than the shortest; there is no XDG_RUNTIME_DIR."""
    with tempfile.TemporaryDirectory(prefix="kpf", dir="/tmp") as short:
        folder = Path(short, "x" * request.param)
        folder.mkdir(exist_ok=True)
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        monkeypatch.setattr(paths, "_SHORT", Path(short))
        yield folder


@pytest.mark.parametrize("file", [None, *FILES])
def test_each_sockets_name_has_room(temporary: Path, file: Path | None) -> None:
    for more in ("", PID):
        path = socket_of(file, more)
        assert len(os.fsencode(path)) <= LONGEST_SOCKET
        assert path.name.encode()  # text, which every file system takes
        assert path == socket_of(file.absolute() if file else None, more)
    assert socket_of(file) != socket_of(file, PID)


def test_the_configurations_of_one_folder_are_told_apart_by_what_is_left_of_their_names(temporary: Path) -> None:
    assert len({socket_of(file, more) for file in (None, *FILES) for more in ("", PID, "1")}) == 15


def test_the_same_command_line_has_the_same_name_and_another_one_has_another() -> None:
    web = replace(TEMPLATE, id="web/http", local=8080, remote="http")
    names = {
        name_of(None, forwards)
        for forwards in (
            [],
            [web],
            [web, web],
            [replace(web, namespace="shop")],
            [replace(web, cluster=Cluster(None, "a"))],
        )
    }
    assert len(names) == 5
    assert {name.partition("-")[0] for name in names} == {"no", "web"}
    assert name_of(None, [replace(web)]) in names


def test_the_socket_can_be_bound_there(temporary: Path) -> None:
    path = socket_of(temporary / "test-of-a-long-name-for-a-configuration.yaml", PID)
    with control_socket(path, private=True):
        assert path.is_socket()


def test_a_folder_without_any_room_gives_way(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = f"kpf-supervise-{os.getuid()}"
    gives_way = len(temporary.name) >= 60
    assert runtime_folder() == (temporary.parent if gives_way else temporary) / own
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(temporary))
    temporary.chmod(0o700)
    assert runtime_folder() == (temporary.parent / own if gives_way else temporary / "kpf-supervise")
