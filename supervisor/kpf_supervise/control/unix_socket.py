"""The control socket itself: binds it so that only its owner can open it, and identifies the peer."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kpf_supervise.model import LONGEST_SOCKET
from kpf_supervise.primitives.unix_peer import Connected, peer_pid, peer_uid
from kpf_supervise.runtime.paths import make_private, user_name

_BACKLOG = 1024  # connections that the kernel queues for us


class Running(Exception):
    """Another process serves this socket. The message names the path, and the pid if it is known."""


@contextmanager
def control_socket(path: Path, private: bool) -> Iterator[socket.socket]:
    """Listen on a socket of mode 0600 during the block; if `private`, in a folder of mode 0700. A socket that a dead
    process left behind is replaced. Raises Running, or OSError, which names the path."""
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise OSError(f"the path is longer than {LONGEST_SOCKET} bytes: {path}")
    if private:
        make_private(path.parent)
    bound = _bind(path)
    mark = path.stat().st_ino
    try:
        yield bound
    finally:
        bound.close()
        with _locked(path.parent):
            if path.exists() and path.stat().st_ino == mark:
                path.unlink()


def _bind(path: Path) -> socket.socket:
    with _locked(path.parent):
        if path.exists():
            if not stat.S_ISSOCK(path.stat().st_mode):
                raise FileExistsError(f"{path} exists, and is not a socket")
            if (pid := _served_by(path)) is not None:
                raise Running(f"{path} is served by {f'pid {pid}' if pid else 'another process'}")
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        new = path.with_name(f".{os.getpid()}")
        before = os.umask(0o177)
        try:
            bound.bind(str(new))
            bound.listen(_BACKLOG)
            new.replace(path)  # once visible at `path`, it is listening
        except BaseException:
            bound.close()
            new.unlink(missing_ok=True)
            raise
        finally:
            os.umask(before)
        return bound


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the folder, so that two instances that start at the same time check it one after the other."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _served_by(path: Path) -> int | None:
    """The pid of the process that serves the socket, 0 if it cannot be determined; None if no process does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return None
        except BlockingIOError:  # it exists and is busy
            return 0
        return peer_pid(probe)


def check_owner(connected: Connected) -> None:
    """Raises PermissionError, which names both users, if another user serves this client's socket: that user's
    answers must be neither shown nor run."""
    uid = peer_uid(connected)
    if uid != os.getuid():
        raise PermissionError(
            f"this instance belongs to {user_name(uid)}, and you are {user_name(os.getuid())}. Each user can control "
            "only instances of their own"
        )
