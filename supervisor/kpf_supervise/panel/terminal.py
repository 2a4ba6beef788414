"""The terminal screen: urwid draws the View, and keys become calls over a control connection."""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import trio
import urwid
from urwid.display import raw

from kpf_supervise.control.async_client import AsyncClient, connect
from kpf_supervise.control.client import Refused
from kpf_supervise.events.serialize import line
from kpf_supervise.events.summary import Digest
from kpf_supervise.panel.drawing import PLAIN_SIGNS, SIGNS, Line, draw
from kpf_supervise.panel.state import View

_LIST = 1.0  # seconds between two reads of the counters, whose changes are not events
_ESCAPE = 0.05  # seconds to wait after an escape for the rest of its sequence
_PATIENCE = 1.0  # seconds to wait for a terminal that does not accept output
_FRAME = 0.05  # minimum seconds between two drawings

# look: foreground, background, and the attribute on a terminal without colours. Only the 16 colours that each
# terminal's theme defines are used, so that light and dark themes are equally readable.
_PALETTE = [
    ("title", "default,bold", "default", "bold"),
    ("head", "default,underline", "default", "underline"),
    ("chosen", "default,standout", "default", "standout"),
    ("key", "default,bold", "default", "bold"),
    ("dim", "dark gray", "default", "default"),
    ("good", "dark green", "default", "default"),
    ("busy", "brown", "default", "bold"),
    ("bad", "dark red,bold", "default", "bold"),
    ("calm", "default", "default", "default"),
]


async def show_remote(path: Path) -> bool:
    """`show` the instance that serves the socket at `path`, from another process: SIGINT, SIGTERM and SIGHUP close the
    panel. Raises OSError if no process serves the socket, or another user's does."""
    stream = await connect(path)
    async with trio.open_nursery() as nursery:

        async def close(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
                task_status.started()
                async for _ in signals:
                    nursery.cancel_scope.cancel()

        await nursery.start(close)
        quit = True  # also if a signal closes it
        quit = await show(stream, own=False)
        nursery.cancel_scope.cancel()
    return quit


async def show(stream: trio.abc.Stream, own: bool) -> bool:
    """Show the instance at the other end of `stream` on the terminal until the user quits (True), or the instance
    ends or the terminal is closed (False). The terminal is always restored."""
    return await _Panel(AsyncClient(stream), View(own)).run()


class _Panel:
    def __init__(self, client: AsyncClient, view: View) -> None:
        self._client = client
        self._view = view
        self._signs = SIGNS if urwid.supports_unicode() else PLAIN_SIGNS
        self._changed = trio.Event()
        self._quit = False
        self._listed_at = 0.0
        self._digest = Digest()
        self._drawn: tuple[list[Line], tuple[int, int]] | None = None

    async def run(self) -> bool:
        with _screen() as (self._screen, self._output):
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._listen)
                for fd in self._screen.get_input_descriptors():
                    self._nursery.start_soon(self._read, fd if isinstance(fd, int) else fd.fileno())
                self._nursery.start_soon(self._follow)
                self._nursery.start_soon(self._draw)
        return self._quit

    async def _listen(self) -> None:
        await self._client.run(self._heard)
        self._nursery.cancel_scope.cancel()

    def _heard(self, event: dict[str, Any]) -> None:
        self._view.heard(event)
        self._changed.set()
        if not self._view.own:  # otherwise the instance itself rings on this terminal
            self._ring(event)

    def _ring(self, event: dict[str, Any]) -> None:
        forward = event["portForward"]
        if forward is not None and forward["notify"] == "bell" and "state" in event:
            text = self._digest.heard(event["forward"], event["state"], event["message"], trio.current_time())
            if text is not None:
                self._output.write("\a")  # is sent with the next drawing

    async def _follow(self) -> None:
        """Fetch the current state and the past events once, then the counters repeatedly."""
        try:
            info = await self._client.call("info")
            self._view.title = os.path.basename(info["config"] or "") or "sandbox"
            self._list(await self._client.call("subscribe"))
            kept = await self._client.call("events")
            self._view.events.clear()
            self._view.events.extend(line(each) for each in kept if each["event"] != "connecting")
            while True:
                await trio.sleep(_LIST)
                self._list(await self._client.call("portforward:list"))
        except Refused:  # the instance has ended; _listen handles that
            pass

    def _list(self, forwards: list[dict[str, Any]]) -> None:
        now = trio.current_time()
        self._view.listed(forwards, now - self._listed_at if self._listed_at else 0.0)
        self._listed_at = now
        self._changed.set()

    async def _read(self, fd: int) -> None:
        """Read keys, the mouse, and the terminal's new size. A lone escape is recognized only when nothing follows it.
        Returns when the terminal was closed."""
        patience = math.inf
        while True:
            with trio.move_on_after(patience) as waited:
                await trio.lowlevel.wait_readable(fd)
            patience = math.inf if waited.cancelled_caught else _ESCAPE
            try:
                codes = self._screen.get_available_raw_input()  # also handles a SIGTSTP from elsewhere
                keys, _ = self._screen.parse_input(None, None, codes, wait_for_more=not waited.cancelled_caught)
            except (urwid.InputClosedError, OSError):  # the terminal was closed
                self._nursery.cancel_scope.cancel()
                return
            for key in keys:
                self._take(key)
            if keys:
                self._changed.set()

    def _take(self, key: str | tuple[Any, ...]) -> None:
        if key == "window resize":  # or resumed after SIGTSTP: the screen shows something else
            self._drawn = None
            return
        if key == "ctrl z":
            self._suspend()
            return
        if isinstance(key, str):
            wanted = self._view.press(key)
        elif key[0] == "mouse press" and key[1] in (4, 5):
            wanted = self._view.press("up" if key[1] == 4 else "down")
        elif key[0] == "mouse press" and key[1] == 1:
            wanted = self._view.click(key[3], key[2])
        else:
            return
        if wanted == "quit":
            self._quit = True
            self._nursery.cancel_scope.cancel()
        elif wanted == "log":
            self._nursery.start_soon(self._fetch_log, self._view.selected)
        elif wanted == "copy":
            self._screen.copy_to_clipboard((self._view.current or {}).get("command") or "")
        elif isinstance(wanted, tuple):
            self._nursery.start_soon(self._call, *wanted)

    def _suspend(self) -> None:
        """Restore the terminal, stop the whole job, and take the terminal again when the shell resumes the job."""
        _give_back(self._screen, self._output)
        os.kill(0, signal.SIGTSTP)
        self._drawn = None
        try:
            _take(self._screen)
        except (termios.error, OSError):  # the terminal was closed meanwhile
            self._nursery.cancel_scope.cancel()

    async def _call(self, method: str, params: dict[str, Any]) -> None:
        try:
            await self._client.call(method, **params)
        except Refused as refused:
            self._view.word = str(refused)
            self._changed.set()

    async def _fetch_log(self, id: str | None) -> None:
        try:
            self._view.log = [line(each) for each in await self._client.call("logs", id=id)]
        except Refused as refused:
            self._view.log = [str(refused)]
        self._changed.set()

    async def _draw(self) -> None:
        canvases: dict[str, Any] = {}
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            size = self._screen.get_cols_rows()
            lines = draw(self._view, *size, time.time(), self._signs)
            if (lines, size) != self._drawn and lines:
                known, canvases = canvases, {}
                for each in lines:  # most are unchanged
                    key = f"{size[0]} {each}"
                    canvases[key] = known.get(key) or urwid.Text(each or " ", wrap="clip").render((size[0],))
                rows = [(canvases[f"{size[0]} {each}"], None, False) for each in lines]
                self._output.held = True
                self._screen.draw_screen(size, urwid.CanvasCombine(rows))
                try:
                    await self._output.send()
                except OSError:  # the terminal was closed
                    self._nursery.cancel_scope.cancel()
                self._output.held = False
                self._drawn = (lines, size)
            await trio.sleep(_FRAME)


class _Output:
    """A file-like object that writes to the terminal without blocking. A terminal that was stopped by Ctrl-S, or whose
    window hangs, delays only the drawing. (O_NONBLOCK applies to the open file description, which the shell shares
    with us, so the terminal is opened again.)"""

    def __init__(self) -> None:
        self.held = False  # while True, only `send` writes
        self._data = b""
        self._fd = os.open(os.ttyname(1), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        return 1

    def write(self, text: str) -> None:
        self._data += text.encode(sys.stdout.encoding, errors="replace")

    def flush(self) -> None:
        """Write the output of the start and the end at once; give up after _PATIENCE seconds."""
        until = time.monotonic() + _PATIENCE
        while self._data and not self.held and time.monotonic() < until:
            try:
                self._data = self._data[os.write(self._fd, self._data) :]
            except BlockingIOError:
                select.select([], [self._fd], [], until - time.monotonic())
            except OSError:  # the terminal was closed
                return

    async def send(self) -> None:
        while self._data:
            try:
                self._data = self._data[os.write(self._fd, self._data) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._fd)

    def close(self) -> None:
        os.close(self._fd)


@contextmanager
def _screen() -> Iterator[tuple[raw.Screen, _Output]]:
    """Keep the terminal in panel mode during the block."""
    with closing(_Output()) as output:
        screen = raw.Screen(output=output)  # _Output has the file methods that it needs
        if os.environ.get("NO_COLOR"):
            screen.set_terminal_properties(colors=1)
        screen.register_palette(_PALETTE)
        screen.set_mouse_tracking()
        try:
            _take(screen)
            yield screen, output
        finally:
            _give_back(screen, output)


def _take(screen: raw.Screen) -> None:
    """Put the terminal into panel mode. Ctrl-Z is then a key, as in vim. As a signal, it would stop a shell script or
    make that started us before the terminal is restored, and their shell would take the terminal away."""
    screen.start()
    screen.tty_signal_keys(susp="undefined")


def _give_back(screen: raw.Screen, output: _Output) -> None:
    """Restore the terminal."""
    output.held = False
    with suppress(termios.error):  # the terminal was closed
        # resume output stopped by Ctrl-S, or the terminal could not be restored; ON takes effect only after OFF
        termios.tcflow(1, termios.TCOOFF)
        termios.tcflow(1, termios.TCOON)
    screen.stop()
    output.flush()
