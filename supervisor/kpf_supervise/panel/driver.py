"""The terminal of the panel, as Textual's driver: nothing here blocks, polls or needs a thread, and the terminal is
given back whole however the panel ends.

It differs from Textual's own driver for Linux in this: the kernel still turns Ctrl-C into SIGINT for the whole job, so
that the scripts around us end as well, and so that it works even if the panel hangs; Ctrl-Z stops the whole job, after
the terminal was given back; a terminal that takes no output delays only the drawing; one that is gone ends the panel.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from codecs import getincrementaldecoder
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from textual import constants, events
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Size

from kpf_supervise.panel_state.ending import RESTORE
from kpf_supervise.panel_state.hands import LOOK, in_foreground

_PATIENCE = 1.0  # seconds at the end for a terminal that takes no output
_ESCAPE = constants.ESCAPE_DELAY + 0.01  # seconds after which a lone escape is the key
_MOST = 1_000_000  # bytes that wait for the terminal; then the screen is drawn anew once it takes output again
_DISABLED = os.fpathconf(0, "PC_VDISABLE") if os.isatty(0) else 0


class TerminalDriver(LinuxDriver):
    """Calls `terminal_gone` of the app if the terminal was closed."""

    def __init__(self, app: App[Any], **more: Any) -> None:
        super().__init__(app, **more)
        for number in (signal.SIGTSTP, signal.SIGCONT):
            signal.signal(number, signal.SIG_DFL)  # our own handlers belong to the event loop
        self.fileno = 0
        self._output = -1
        self._pending = b""
        self._stale = False
        self._saved: list[Any] | None = None
        self._parser = XTermParser(self._debug)
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._encoding = getattr(sys.__stdout__, "encoding", None) or "utf-8"
        self.mouse_on = True

    # output

    def write(self, data: str) -> None:
        """Write as much as the terminal takes, and keep the rest."""
        if self._output < 0:
            return
        if len(self._pending) > _MOST:
            self._stale = True
            return
        waits = bool(self._pending)
        self._pending += data.encode(self._encoding, errors="replace")
        if not waits:
            self._drain()

    def flush(self) -> None:
        """Nothing is kept back."""

    def _drain(self) -> None:
        try:
            while self._pending:
                self._pending = self._pending[os.write(self._output, self._pending) :]
        except BlockingIOError:
            self._loop.add_writer(self._output, self._drain)
            return
        except OSError:
            self._pending = b""
            self._gone()
        self._loop.remove_writer(self._output)
        if self._stale:
            self._stale = False
            self._app.refresh(layout=True)

    # input

    def _read(self) -> None:
        try:
            data = os.read(self.fileno, 4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone()
            return
        for message in self._parser.feed(self._decode(data)):
            self.process_message(message)
        self._loop.call_later(_ESCAPE, self._tick)

    def _tick(self) -> None:
        for message in self._parser.tick():
            self.process_message(message)

    def _gone(self) -> None:
        self._loop.remove_reader(self.fileno)
        gone: Callable[[], None] = getattr(self._app, "terminal_gone", self._app.exit)
        self._loop.call_soon(gone)

    # application mode

    def start_application_mode(self) -> None:
        try:
            self._saved = termios.tcgetattr(self.fileno)
            # opened again: O_NONBLOCK belongs to the open file, which the shell shares with us
            self._output = os.open(os.ttyname(1), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            termios.tcsetattr(self.fileno, termios.TCSANOW, _patched(self._saved))
        except (termios.error, OSError):
            self._gone()
            return
        for number, do in self._signals.items():
            self._loop.add_signal_handler(number, do)
        self._loop.add_reader(self.fileno, self._read)
        self._set_modes()

    @property
    def _signals(self) -> dict[int, Callable[[], None]]:
        return {signal.SIGWINCH: self._resized, signal.SIGTSTP: self.stop_job, signal.SIGCONT: self._continued}

    def _set_modes(self) -> None:
        self.write("\x1b[?1049h\x1b[?25l\x1b[?1004h")
        if self.mouse_on:
            self._enable_mouse_support()
        self._request_terminal_sync_mode_support()
        self._enable_bracketed_paste()
        self._disable_line_wrap()
        self._resized()

    def _continued(self) -> None:
        """After a SIGSTOP, which cannot be caught: the shell has the terminal, or had it."""
        self._pending = b""
        self._let_go()
        self._come_back()

    def _resized(self) -> None:
        size = Size(*self._get_terminal_size())
        self.send_message(events.Resize(size, size))

    def _get_terminal_size(self) -> tuple[int, int]:
        try:
            width, height = os.get_terminal_size(1)
        except OSError:
            return 80, 24
        return width or 80, height or 24

    def disable_input(self) -> None:
        self._loop.remove_reader(self.fileno)

    def stop_application_mode(self) -> None:
        """Give the terminal back, if we have it. Waits for it for _PATIENCE seconds at most."""
        if self._output < 0:
            return
        with suppress(termios.error):
            # resume output stopped by Ctrl-S; ON takes effect only after OFF
            termios.tcflow(self.fileno, termios.TCOOFF)
            termios.tcflow(self.fileno, termios.TCOON)
        self._pending += RESTORE
        write_in_time(self._output, self._pending, _PATIENCE)
        self._pending = b""
        if self._saved is not None:
            with suppress(termios.error):
                termios.tcflush(self.fileno, termios.TCIFLUSH)
                termios.tcsetattr(self.fileno, termios.TCSANOW, self._saved)
        self._let_go()

    def _let_go(self) -> None:
        """Touch the terminal no longer."""
        self.disable_input()
        for number in self._signals:
            self._loop.remove_signal_handler(number)
        self._loop.remove_writer(self._output)
        os.close(self._output)
        self._output = -1

    def close(self) -> None:
        """There is no thread to end."""

    def resume_application_mode(self) -> None:
        self.start_application_mode()
        self._app.refresh(layout=True)

    def stop_job(self) -> None:
        """Give the terminal back and stop the whole job, as Ctrl-Z does. Take the terminal again once the job is
        resumed in the foreground."""
        self.stop_application_mode()
        os.kill(0, signal.SIGTSTP)  # returns once we are resumed
        self._come_back()

    def _come_back(self) -> None:
        if in_foreground(self.fileno):
            self.resume_application_mode()
        else:
            self._loop.call_later(LOOK, self._come_back)

    def set_mouse(self, on: bool) -> None:
        self.mouse_on = on
        (self._enable_mouse_support if on else self._disable_mouse_support)()


def _patched(attributes: list[Any]) -> list[Any]:
    """Keys one by one, no echo. Ctrl-C stays a signal; Ctrl-Z and Ctrl-\\ become keys, Ctrl-S and Ctrl-Q, too."""
    changed = [*attributes[:6], list(attributes[6])]
    changed[tty.LFLAG] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
    changed[tty.LFLAG] |= termios.ISIG
    changed[tty.IFLAG] &= ~(termios.IXON | termios.IXOFF | termios.ICRNL | termios.INLCR | termios.IGNCR)
    for name in ("VSUSP", "VQUIT", "VDSUSP"):
        if hasattr(termios, name):
            changed[tty.CC][getattr(termios, name)] = bytes([_DISABLED])
    changed[tty.CC][termios.VMIN] = 1
    changed[tty.CC][termios.VTIME] = 0
    return changed


def write_in_time(fd: int, data: bytes, seconds: float) -> None:
    """Write to a non-blocking `fd`; give up after so many seconds, or if it was closed."""
    until = time.monotonic() + seconds
    while data and (left := until - time.monotonic()) > 0:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            select.select([], [fd], [], left)
        except OSError:
            return
