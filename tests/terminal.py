"""A terminal for a program under test: it gets a pseudo-terminal, and the test reads the screen."""

from __future__ import annotations

import copy
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pyte
import trio

from tests import preforked

PATIENCE = 20.0  # seconds for the screen to show something


class _Screen(pyte.Screen):
    """With the alternate screen, which pyte lacks."""

    _ALTERNATE = 1049
    _main: tuple[Any, Any] | None = None

    def set_mode(self, *modes: int, **more: Any) -> None:
        super().set_mode(*modes, **more)
        if self._ALTERNATE in modes and self._main is None:
            self._main = copy.deepcopy(self.buffer), copy.copy(self.cursor)
            self.erase_in_display(2)

    def reset_mode(self, *modes: int, **more: Any) -> None:
        super().reset_mode(*modes, **more)
        if self._ALTERNATE in modes and self._main is not None:
            self.buffer, self.cursor = self._main
            self._main = None
            self.dirty.update(range(self.lines))


class Terminal:
    """`raw` is all the program's output. `process` is the program, in its own session."""

    def __init__(self, fd: int, columns: int, rows: int) -> None:
        self.fd = fd
        self.raw = bytearray()
        self.process: trio.Process | preforked.Process
        self._takes = trio.Event()  # it takes output
        self._takes.set()
        self._screen = _Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._news = trio.Event()
        self.resize(columns, rows)

    async def read(self) -> None:
        """Read until the program's side is closed."""
        while True:
            await self._takes.wait()
            await trio.lowlevel.wait_readable(self.fd)
            try:
                data = os.read(self.fd, 65536)
            except (BlockingIOError, OSError):
                return
            if not data:
                return
            self.raw += data
            self._stream.feed(data)
            self._news.set()
            self._news = trio.Event()

    def take_nothing(self) -> None:
        """Hang, as a window over a dead line does, until `take_again`."""
        self._takes = trio.Event()

    def take_again(self) -> None:
        self._takes.set()

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def screen(self) -> pyte.Screen:
        return self._screen

    async def shows(self, true: Callable[[str], bool] | str) -> str:
        """Wait until the screen contains the text, or `true` accepts it. Returns the screen."""
        with trio.move_on_after(PATIENCE):
            while not (true in self.text if isinstance(true, str) else true(self.text)):
                await self._news.wait()
            return self.text
        raise AssertionError(f"waited for {true} in vain; the screen shows:\n{self.text}")

    async def says(self, text: str) -> None:
        """Wait until the program has written the text, wherever it is by now."""
        with trio.move_on_after(PATIENCE):
            while text.encode() not in self.raw:
                await self._news.wait()
            return
        raise AssertionError(f"waited for {text} in vain; the screen shows:\n{self.text}")

    def type(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def click(self, text: str) -> None:
        """Click the left mouse button on the first occurrence of `text`."""
        row = next(number for number, line in enumerate(self.lines) if text in line)
        column = self.lines[row].index(text)
        self.type(f"\x1b[<0;{column + 1};{row + 1}M\x1b[<0;{column + 1};{row + 1}m")

    def resize(self, columns: int, rows: int) -> None:
        self._screen.resize(rows, columns)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if hasattr(self, "process"):
            os.killpg(self.process.pid, signal.SIGWINCH)

    def settings(self) -> list[object]:
        """The settings that stty shows."""
        return list(termios.tcgetattr(self.fd))

    def given_back(self) -> bool:
        """Whether each of these was finally restored: the alternate screen, the mouse, the hidden cursor."""
        pairs = [(b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?1000h", b"\x1b[?1000l"), (b"\x1b[?25l", b"\x1b[?25h")]
        return all(self.raw.rfind(on) <= self.raw.rfind(off) for on, off in pairs)


@asynccontextmanager
async def in_terminal(
    command: Sequence[str], environment: Mapping[str, str], columns: int = 120, rows: int = 30
) -> AsyncIterator[Terminal]:
    """Run a program in its own terminal during the block."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    terminal = Terminal(ours, columns, rows)
    try:
        async with trio.open_nursery() as nursery:
            seen = {**environment, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
            if command[0] == sys.executable:
                terminal.process = await preforked.start(command[1:], seen, terminal=theirs)
            else:
                terminal.process = await preforked.in_session(command, seen, theirs)
            nursery.start_soon(terminal.read)
            try:
                yield terminal
            finally:
                if terminal.process.poll() is None:
                    terminal.process.terminate()
                    with trio.CancelScope(shield=True):
                        with trio.move_on_after(5):
                            await terminal.process.wait()
                        if terminal.process.poll() is None:
                            terminal.process.kill()
                            await terminal.process.wait()
                nursery.cancel_scope.cancel()
    finally:
        os.close(theirs)
        os.close(ours)
