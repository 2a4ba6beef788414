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

from kpf_supervise.kubectl.process import lines, read_to_end
from kpf_supervise.panel_state.ending import ENDED, GONE, NO_TEXTUAL, QUIT, RESTORE, SIGNAL

_GRACE = 1.5  # seconds between SIGTERM and SIGKILL; it waits for its terminal for a second
_LAST = 100  # lines of its stderr that are kept


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
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_read, process.stderr, said)
                code = await read_to_end(process, nursery)
        finally:
            with trio.CancelScope(shield=True):
                await _end(process)
                await process.stderr.aclose()
            if process.returncode not in (QUIT, ENDED, GONE, NO_TEXTUAL):
                restore()
    if code in (QUIT, GONE):
        return Ended(code == QUIT, "the panel has ended: its terminal was closed")
    after = "The forwards go on, and events follow as lines"
    if code == NO_TEXTUAL:
        reason = said[-1] if said else "unknown"
        return Ended(False, f"there is no panel: the library Textual can't be loaded: {reason}. {after}", shown=False)
    if code == ENDED:
        return Ended(False, f"the panel could not reach the instance. {after}")
    how = f"was killed by signal {-code}" if code < 0 else f"has ended with exit code {code}"
    if code > SIGNAL:
        how = f"was ended by signal {code - SIGNAL}"
    return Ended(False, f"the panel {how}. {after}; kpfctl panel shows it again", tuple(said))


async def _read(stream: trio.abc.ReceiveStream, said: deque[str]) -> None:
    async for line in lines(stream):
        said.append(line.decode(errors="replace"))


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
                    os.write(fd, RESTORE)
            finally:
                os.close(fd)
            termios.tcsetattr(0, termios.TCSANOW, saved)

    yield restore
