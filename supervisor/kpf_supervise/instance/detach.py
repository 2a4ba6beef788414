"""Runs the instance as a background process, with a log file instead of the terminal."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kpf_supervise.instance.paths import make_private, name_of, socket_of, state_folder
from kpf_supervise.model import Forward

_UP = "KPF_UP_FD"  # an environment variable of the detached process: the pipe on which it reports that it is up
_NO_SOCKET = b"\0"  # no path
_LARGEST_LOG = 5_000_000  # bytes; a larger log is renamed to .1 at the next start


def shutdown_line(config: Path | None, socket: Path) -> str:
    """The shell command that ends this instance, even if others run."""
    if config is not None and socket == socket_of(config):
        return shlex.join(["kpfctl", "-f", str(config), "shutdown"])
    return shlex.join(["kpfctl", "--socket", str(socket), "shutdown"])


def detach(words: Sequence[str], config: Path | None, forwards: Sequence[Forward]) -> int:
    """Start kpf-supervise with the arguments `words` in a session of its own; `forwards` are those that it has without
    a configuration. Returns 0 when its local ports are bound and its control socket answers, otherwise its exit
    code."""
    log = _open_log(state_folder() / f"{name_of(config, forwards)}.log")
    reading, writing = os.pipe()
    with log.open("ab") as file:
        begun = file.tell()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "kpf_supervise", *words],  # -P: import nothing from the current folder
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, _UP: str(writing)},
            pass_fds=[writing],
            start_new_session=True,
        )
    os.close(writing)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with os.fdopen(reading, "rb") as up:
            if told := up.read():
                end = shutdown_line(config, Path(os.fsdecode(told))) if told != _NO_SOCKET else f"kill {process.pid}"
                print(f"kpf-supervise runs as pid {process.pid}; its log: {log}; to end it: {end}")
                return 0
        code = process.wait()
    except KeyboardInterrupt:  # the user no longer wants the instance
        process.terminate()
        process.wait()
        return 130
    sys.stderr.write(log.read_bytes()[begun:].decode(errors="replace"))
    return code if code > 0 else 1


def _open_log(path: Path) -> Path:
    """Create the folder, and rename a log that has grown too large. Raises OSError."""
    make_private(path.parent)
    if path.exists() and path.stat().st_size > _LARGEST_LOG:
        path.replace(path.with_name(f"{path.name}.1"))
    return path


def say_up(socket: Path | None) -> None:
    """Tell the process that started us that we are up, and where our control socket is, if we have one."""
    fd = int(os.environ.pop(_UP, "-1"))
    if fd >= 0:
        os.write(fd, os.fsencode(socket.absolute()) if socket else _NO_SOCKET)
        os.close(fd)
