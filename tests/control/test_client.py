"""Whom kpfctl believes: only folders and sockets of its own user."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from kpf_supervise.control.client import Client, NoAnswer, find
from kpf_supervise.panel_state.link import Link
from kpf_supervise.runtime.paths import make_private, runtime_folder, socket_of

NOBODY = 65534
only_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")

# Listens at argv[1], and answers every line with what would be run by `eval "$(kpfctl env)"`.
IMPOSTOR = """
import json, os, socket, sys
os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)
bound = socket.socket(socket.AF_UNIX)
bound.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
bound.listen()
print("listens", flush=True)
forward = {"id": "web", "listening": True, "address": "x; echo owned", "localPort": 1, "state": "active"}
while True:
    peer, _ = bound.accept()
    for line in peer.makefile("rb"):
        answer = {"jsonrpc": "2.0", "id": json.loads(line)["id"], "result": [forward]}
        peer.sendall(json.dumps(answer).encode() + b"\\n")
"""


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of temporary files, which everybody may enter; there is no XDG_RUNTIME_DIR and nothing is named."""
    tmp_path_factory.getbasetemp()  # pytest's own folder is not to be made in this one
    with tempfile.TemporaryDirectory(prefix="kpf", dir="/tmp") as folder:
        Path(folder).chmod(0o1777)
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        monkeypatch.delenv("KPF_SOCKET", raising=False)
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@pytest.fixture
def listening(temporary: Path) -> Iterator[Path]:
    """A socket that this process serves, in its runtime folder."""
    path = socket_of(None)
    make_private(path.parent)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        bound.listen()
        yield path


def test_a_socket_that_a_file_names_with_a_variable_needs_it_here_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, named = tmp_path / "f.yaml", tmp_path / "kpf.sock"
    config.write_text("socket: ${KPF_TEST}.sock\nforwards: {web: {target: svc/web, ports: 80}}\n")
    with pytest.raises(NoAnswer, match=r"f\.yaml:1:9: socket: the variable KPF_TEST is not set\."):
        find(None, config)
    named.touch()
    monkeypatch.setenv("KPF_TEST", "kpf")
    assert find(None, config) == named


def as_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, all that is there is somebody else's."""
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)


def test_a_runtime_folder_of_another_user_is_not_believed(listening: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(None, None) == listening
    folder = listening.parent
    owner = os.getuid()
    as_another_user(monkeypatch)
    folder.rename(runtime_folder())
    for config in (None, Path("shop.yaml")):
        with pytest.raises(NoAnswer) as error:
            find(None, config)
        assert f"{runtime_folder()} belongs to " in str(error.value)
        assert f"uid {owner}" in str(error.value)
        assert "XDG_RUNTIME_DIR" in str(error.value)


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_runtime_folder_that_others_may_write_is_not_believed(listening: Path, mode: int) -> None:
    listening.parent.chmod(mode)
    with pytest.raises(NoAnswer, match=f"{listening.parent} can be written by other users"):
        find(None, None)


def test_a_link_is_no_runtime_folder(listening: Path) -> None:
    elsewhere = listening.parent.rename(listening.parent.with_name("elsewhere"))
    listening.parent.symlink_to(elsewhere)
    with pytest.raises(NoAnswer, match=f"{listening.parent} is not a folder"):
        find(None, None)


def test_a_given_runtime_folder_that_others_may_write_is_not_used(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = temporary / "run"
    given.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(given))
    given.chmod(0o700)
    assert runtime_folder() == given / "kpf-supervise"
    given.chmod(0o1777)
    assert runtime_folder() == temporary / f"kpf-supervise-{os.getuid()}"


def test_an_instance_makes_its_folder_private_and_takes_nobody_elses(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = temporary / "mine"
    folder.mkdir()
    folder.chmod(0o777)
    make_private(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    as_another_user(monkeypatch)
    with pytest.raises(PermissionError, match=f"{folder} belongs to "):
        make_private(folder)


async def link_to(path: Path) -> None:
    """Connect as the panel does, and leave again."""

    async def connect() -> None:
        link = Link(path)
        await link.connect()
        listening = asyncio.ensure_future(link.listen())
        await asyncio.sleep(0)
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening

    await trio.to_thread.run_sync(lambda: asyncio.run(connect()))


async def test_a_socket_of_another_user_is_refused(listening: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(listening):
        pass
    await link_to(listening)
    owner = os.getuid()
    as_another_user(monkeypatch)
    words = rf"{listening}: .*belongs to .*uid {owner}\b.*, and you are .*uid {owner + 1}\b"
    with pytest.raises(NoAnswer, match=words):
        Client(listening)
    with pytest.raises(PermissionError, match=r"belongs to "):
        await link_to(listening)


@pytest.fixture
def impostor(temporary: Path) -> Iterator[Path]:
    """The socket of an instance that another user has put where kpfctl looks for ours."""
    path = temporary / f"kpf-supervise-{os.getuid()}" / "shop.sock"
    command = ["/usr/bin/env", "python3", "-c", IMPOSTOR, str(path)]
    process = subprocess.Popen(command, user=NOBODY, stdout=subprocess.PIPE, cwd="/")
    assert process.stdout is not None
    assert process.stdout.readline() == b"listens\n"
    yield path
    process.kill()
    process.wait()
    process.stdout.close()


def kpfctl(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kpf_supervise.kpfctl", *words]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        env={**os.environ, **more},
        stdin=subprocess.DEVNULL,
    )


@only_root
def test_the_words_of_another_users_instance_are_never_printed(impostor: Path, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(f"socket: {impostor}\nforwards: {{web: {{target: service/web, ports: 80}}}}")
    by_folder = kpfctl("env")
    by_name = [
        kpfctl("--socket", str(impostor), "env"),
        kpfctl("env", KPF_SOCKET=str(impostor)),
        kpfctl("-f", str(file), "env"),
    ]
    assert f"{impostor.parent} belongs to nobody (uid {NOBODY})" in by_folder.stderr
    for done in by_name:
        assert f"{impostor}: this instance belongs to nobody (uid {NOBODY}), and you are root" in done.stderr
    assert {(done.returncode, done.stdout) for done in (by_folder, *by_name)} == {(1, "")}
    completion = {"_KPFCTL_COMPLETE": "bash_complete", "COMP_LINE": "kpfctl stop w"}
    assert kpfctl(**completion).stdout.strip() == ""
    assert kpfctl(**completion, KPF_SOCKET=str(impostor)).stdout.strip() == ""


@only_root
def test_a_socket_of_another_user_in_our_own_folder_is_not_counted(impostor: Path) -> None:
    os.chown(impostor.parent, os.getuid(), os.getgid())
    impostor.parent.chmod(0o700)
    assert "no instance runs" in kpfctl("env").stderr


@only_root
async def test_the_panel_shows_no_instance_of_another_user(impostor: Path) -> None:
    with pytest.raises(PermissionError, match=f"belongs to nobody .uid {NOBODY}."):
        await link_to(impostor)
