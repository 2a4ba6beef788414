"""The instance as a process of its own, with a log file in the place of the terminal."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kpf_supervise.instance.paths import make_private, name_of, socket_of, state_folder

_UP = "KPF_UP_FD"  # in the detached one's environment: where it says that it is up
_LARGEST_LOG = 5_000_000  # bytes; a larger one is kept as .1 at the next start


def shutdown_line(config: Path | None, socket: Path | None) -> str:
    """What ends this instance, also where others run, as a shell takes it."""
    if config is not None and socket is None:
        return shlex.join(["kpfctl", "-f", str(config), "shutdown"])
    return shlex.join(["kpfctl", "--socket", str(socket or socket_of(config)), "shutdown"])


def detach(words: Sequence[str], config: Path | None, socket: Path | None) -> int:
    """Start kpf-supervise with these words, in a session of its own; `socket` is where one was named. Returns when its
    local ports are bound and its control socket answers; the exit code is 0 then, otherwise that with which it
    ended."""
    log = _open_log(state_folder() / f"{name_of(config)}.log")
    reading, writing = os.pipe()
    with log.open("ab") as file:
        begun = file.tell()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "kpf_supervise", *words],  # -P: no module of the current folder is ours
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
            if up.read():
                end = shutdown_line(config, socket)
                print(f"kpf-supervise runs as pid {process.pid}; its log: {log}; its end: {end}")
                return 0
        code = process.wait()
    except KeyboardInterrupt:  # whoever breaks this off does not want what it starts
        process.terminate()
        process.wait()
        return 130
    sys.stderr.write(log.read_bytes()[begun:].decode(errors="replace"))
    return code if code > 0 else 1


def _open_log(path: Path) -> Path:
    """Make the folder, and put a log aside that has grown large. Raises OSError."""
    make_private(path.parent)
    if path.exists() and path.stat().st_size > _LARGEST_LOG:
        path.replace(path.with_name(f"{path.name}.1"))
    return path


def say_up() -> None:
    """Tell whoever detached us that we are up."""
    fd = int(os.environ.pop(_UP, "-1"))
    if fd >= 0:
        os.write(fd, b"up")
        os.close(fd)
