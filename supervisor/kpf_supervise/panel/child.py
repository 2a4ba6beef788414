"""Runs the panel beside the instance, as a process of its own that has the terminal. Nothing here waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
import termios
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import trio

from kpf_supervise.kubectl.process import lines

_GRACE = 1.5  # seconds between SIGTERM and SIGKILL; it waits for its terminal for a second
_LAST = 100  # lines of its stderr that are kept
_PATIENCE = 1.0  # seconds for a terminal that takes no output
_QUIT, _ENDED, _GONE, _NO_TEXTUAL = 0, 3, 4, 5  # its exit codes, see panel/__main__.py
# Leaves the modes that it sets: paste, wrap, resize, mouse, focus, the second screen, the hidden cursor.
_RESTORE = b"\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1004l\x1b[?1049l\x1b[?25h"


class Ended(NamedTuple):
    """`quit`: the user wants the instance to end. `why`: else the reason, for the user."""

    quit: bool
    why: str = ""
    said: tuple[str, ...] = ()  # its stderr, after a bug
    shown: bool = True  # the events so far


async def run_panel(socket: Path) -> Ended:
    """Show the panel of the instance that serves `socket` until it ends. If cancelled, ends it. The terminal is given
    back in any case. Raises no error of its own."""
    command = [sys.executable, "-P", "-m", "kpf_supervise.panel", "--socket", str(socket), "--own"]
    said: deque[str] = deque(maxlen=_LAST)
    with _terminal_kept() as restore:
        try:
            process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE)
        except OSError as error:
            return Ended(False, f"there is no panel: its process can't be started: {error.strerror}", shown=False)
        assert process.stderr is not None
        try:
            async for line in lines(process.stderr):
                said.append(line.decode(errors="replace"))
            code = await process.wait()
        finally:
            with trio.CancelScope(shield=True):
                await _end(process)
                await process.stderr.aclose()
            if process.returncode not in (_QUIT, _ENDED, _GONE, _NO_TEXTUAL):
                restore()
    if code in (_QUIT, _GONE):
        return Ended(code == _QUIT, "the panel has ended: its terminal was closed")
    after = "The forwards go on, and events follow as lines"
    if code == _NO_TEXTUAL:
        reason = said[-1] if said else "unknown"
        return Ended(False, f"there is no panel: the library Textual can't be loaded: {reason}. {after}", shown=False)
    if code == _ENDED:
        return Ended(False, f"the panel could not reach the instance. {after}")
    how = f"was killed by signal {-code}" if code < 0 else f"has ended with exit code {code}"
    if code > 128:
        how = f"was ended by signal {code - 128}"
    return Ended(False, f"the panel {how}. {after}; kpfctl panel shows it again", tuple(said))


async def _end(process: trio.Process) -> None:
    if process.poll() is None:
        process.terminate()
        with trio.move_on_after(_GRACE):
            await process.wait()
    if process.poll() is None:  # it hangs, or is stopped
        process.kill()
        await process.wait()


@contextmanager
def _terminal_kept() -> Iterator[Any]:
    """Yields a function that puts the terminal into the state that it has now."""
    try:
        saved = termios.tcgetattr(0)
    except termios.error:
        saved = None

    def restore() -> None:
        with suppress(OSError, termios.error):  # it was closed
            if saved is None or os.tcgetpgrp(0) != os.getpgrp():
                return
            fd = os.open(os.ttyname(1), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
            try:
                with suppress(BlockingIOError):
                    os.write(fd, _RESTORE)
            finally:
                os.close(fd)
            termios.tcsetattr(0, termios.TCSANOW, saved)

    yield restore
