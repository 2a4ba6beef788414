"""Runs the instance as a background process, with a log file instead of the terminal."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from kpf_supervise.model import Forward
from kpf_supervise.runtime.paths import make_private, name_of, socket_of, state_folder

_UP = "KPF_UP_FD"  # an environment variable of the detached process: the pipe on which it reports that it is up
_NO_SOCKET = b"\0"  # no path
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LARGEST_LOG = 5_000_000  # bytes; a larger log is renamed to .1 at the next start


def shutdown_line(config: Path | None, socket: Path) -> str:
    """The shell command that ends this instance, even if others run."""
    if config is not None and socket == socket_of(config):
        return shlex.join(["kpfctl", "-f", str(config), "shutdown"])
    return shlex.join(["kpfctl", "--socket", str(socket), "shutdown"])


class NotUp(Exception):
    """The process has ended, with the exit code `code`, before it was up. The text is what it has said."""

    def __init__(self, said: str, code: int) -> None:
        super().__init__(said)
        self.code = code


def detach(words: Sequence[str], config: Path | None, forwards: Sequence[Forward]) -> int:
    """Start kpf-supervise with the arguments `words` in a session of its own; `forwards` are those that it has without
    a configuration. Returns 0 when its local ports are bound and its control socket answers, otherwise its exit
    code."""
    log = log_of(name_of(config, forwards))
    try:
        pid, socket = begin("kpf_supervise", words, log, os.environ)
    except NotUp as ended:
        sys.stderr.write(str(ended))
        return ended.code
    end = shutdown_line(config, socket) if socket is not None else f"kill {pid}"
    print(f"kpf-supervise runs as pid {pid}; its log: {log}; to end it: {end}")
    return 0


def begin(
    module: str, words: Sequence[str], log: Path, environment: Mapping[str, str], folder: str = "."
) -> tuple[int, Path | None]:
    """Run a module of ours in a session of its own, with a log instead of the terminal, in `folder`. Returns its pid
    and its control socket, if it has one, once it is up. A signal meanwhile ends it. Raises NotUp, or OSError if the
    log can't be written."""
    reading, writing = os.pipe()
    with _open_log(log).open("ab") as file:
        begun = file.tell()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *words],  # -P: import nothing from the current folder
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**environment, _UP: str(writing)},
            pass_fds=[writing],
            start_new_session=True,
            cwd=folder,
        )
    os.close(writing)
    before = {number: signal.signal(number, signal.default_int_handler) for number in _STOPS}
    try:
        with os.fdopen(reading, "rb") as up:
            if told := up.read():
                return process.pid, Path(os.fsdecode(told)) if told != _NO_SOCKET else None
        code = process.wait()
    except KeyboardInterrupt:  # the user no longer wants the instance
        process.terminate()
        process.wait()
        raise NotUp("", 130) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    raise NotUp(log.read_bytes()[begun:].decode(errors="replace"), code if code > 0 else 1)


def log_of(name: str) -> Path:
    """The log of the instance whose files have this base name."""
    return state_folder() / f"{name}.log"


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
        with suppress(BrokenPipeError):  # it was killed meanwhile
            os.write(fd, os.fsencode(socket.absolute()) if socket else _NO_SOCKET)
        os.close(fd)
