"""Tells the user of lost forwards beyond the line that says so: the terminal's bell, or the desktop's own notifier."""

from __future__ import annotations

import html
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

import trio

from kpf_supervise.events.board import Board
from kpf_supervise.events.summary import Digest

_PATIENCE = 10.0  # seconds that a notifier has


async def notify(board: Board, ring: Callable[[], None]) -> None:
    """Tell what forwards with `notify: desktop` or `notify: bell` go through, the bell by `ring`. Until cancelled."""
    digest = Digest()
    async with trio.open_nursery() as nursery:

        def tell(id: str, text: str) -> None:
            status = board.statuses.get(id)
            match status.forward.notify if status else "none":
                case "bell":
                    ring()
                case "desktop" if (words := desktop_command(text)) is not None:
                    nursery.start_soon(_show, words)
                case "desktop":
                    board.notice(f"no desktop notifier here (notify-send or osascript): {text}")

        with board.subscription() as events:
            while True:
                with trio.move_on_at(digest.next):
                    event = await events.receive()
                    if event.forward is not None and event.state is not None:
                        now = trio.current_time()
                        if text := digest.heard(event.forward, event.state, event.message, now):
                            tell(event.forward, text)
                for id, text in digest.due(trio.current_time()):
                    tell(id, text)


def desktop_command(text: str) -> list[str] | None:
    """The system's own notifier with this text; None where there is none."""
    if sys.platform == "darwin":
        script = 'on run argv\ndisplay notification (item 1 of argv) with title "kpf-supervise"\nend run'
        return ["osascript", "-e", script, text]
    program = shutil.which("notify-send")
    body = html.escape(text, quote=False)  # it may be markup, with links and pictures (Desktop Notifications Spec.)
    return [program, "--app-name=kpf-supervise", "--", "kpf-supervise", body] if program else None


async def _show(words: list[str]) -> None:
    with trio.move_on_after(_PATIENCE), suppress(OSError):  # it was there a moment ago
        await trio.run_process(words, stdin=b"", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def ring_on(fd: int) -> None:
    """The bell of the terminal at `fd`; nothing where that is none, or takes nothing (Ctrl-S)."""
    with suppress(OSError):  # it was closed
        if os.isatty(fd) and select.select([], [fd], [], 0)[1]:
            os.write(fd, b"\a")
