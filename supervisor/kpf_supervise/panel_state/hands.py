"""What the panel does outside of its screen: the editor and the browser."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

LOOK = 0.2  # seconds; no event tells a job in the background that it has the terminal again


def in_foreground(fd: int) -> bool:
    """Whether we may use the terminal; also if it is not the one that controls us."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return True


def editor(environment: Mapping[str, str]) -> list[str]:
    """The words of the user's editor; empty if there is none."""
    for name in ("VISUAL", "EDITOR"):
        with suppress(ValueError):
            if words := shlex.split(environment.get(name, "")):
                return words
    return next(([name] for name in ("nano", "vim", "vi") if shutil.which(name)), [])


async def on_terminal(words: Sequence[str], fd: int = 0) -> int:
    """Run a program as a job of its own on the terminal, as a shell does: its Ctrl-C is its own. If it is stopped, the
    whole job that we belong to is. Returns its exit code. Raises OSError if it can't be started."""

    def take() -> None:  # before the program reads, which in the background would stop it
        os.setpgid(0, 0)
        with _writing_in_background():
            _give(fd, os.getpid())

    with _writing_in_background():
        process = subprocess.Popen(list(words), stdin=fd, stdout=1, stderr=1, preexec_fn=take)  # noqa: ASYNC220, PLW1509
        try:
            while (status := await _ended_or_stopped(process.pid)) is None:
                _give(fd, os.getpgrp())
                os.kill(0, signal.SIGTSTP)  # returns once we are resumed
                while not in_foreground(fd):  # noqa: ASYNC110  no event tells it
                    await asyncio.sleep(LOOK)
                _give(fd, process.pid)
                os.killpg(process.pid, signal.SIGCONT)
        finally:
            _give(fd, os.getpgrp())
    process.returncode = status  # it is reaped: Popen must not wait for it
    return status


async def _ended_or_stopped(pid: int) -> int | None:
    """The exit code; None if it was stopped."""
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, changed.set)
    try:
        while True:
            found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)  # noqa: ASYNC222  it returns at once
            if found:
                return None if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)
            await changed.wait()
            changed.clear()
    finally:
        loop.remove_signal_handler(signal.SIGCHLD)


@contextmanager
def _writing_in_background() -> Iterator[None]:
    """Without SIGTTOU, which would stop a process of the background that gives or takes the terminal."""
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)


def _give(fd: int, group: int) -> None:
    with suppress(OSError):  # not a terminal that controls us, or it was closed
        os.tcsetpgrp(fd, group)


def browser(environment: Mapping[str, str]) -> list[str]:
    """The words of a browser that opens a window of its own; empty if there is none. One that would draw on this
    terminal is not used."""
    with suppress(ValueError):
        if words := shlex.split(environment.get("BROWSER", "").split(os.pathsep)[0]):
            return words
    if sys.platform == "darwin":
        return ["open"]
    has_display = environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    names = ("wslview", *(("xdg-open",) if has_display else ()))
    return next(([name] for name in names if shutil.which(name)), [])


def browse(words: Sequence[str], url: str) -> None:
    """Start the browser, which outlives us. Raises OSError if there is no such program."""
    if shutil.which(words[0]) is None:
        raise FileNotFoundError(2, "No such program")
    given = [each.replace("%s", url) for each in words] if any("%s" in each for each in words) else [*words, url]
    quiet = subprocess.DEVNULL
    detached = ["/bin/sh", "-c", '"$@" &', "sh", *given]
    subprocess.run(detached, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True, check=False)
