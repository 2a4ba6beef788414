"""Notifies the user of lost forwards in addition to the log line: by the terminal bell or the desktop's notifier."""

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

_PATIENCE = 10.0  # seconds that a notifier may take


async def notify(board: Board, ring: Callable[[], None]) -> None:
    """Notify the user about forwards with `notify: desktop` or `notify: bell`. `ring` rings the bell. Runs until
    cancelled."""
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
    """The command that shows `text` with the system's notifier; None if there is no notifier."""
    if sys.platform == "darwin":
        script = 'on run argv\ndisplay notification (item 1 of argv) with title "kpf-supervise"\nend run'
        return ["osascript", "-e", script, text]
    program = shutil.which("notify-send")
    body = html.escape(text, quote=False)  # a body may be markup with links and images (Desktop Notifications Spec.)
    return [program, "--app-name=kpf-supervise", "--", "kpf-supervise", body] if program else None


async def _show(words: list[str]) -> None:
    with trio.move_on_after(_PATIENCE), suppress(OSError):  # the program may have been removed
        await trio.run_process(words, stdin=b"", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def ring_on(fd: int) -> None:
    """Ring the bell of the terminal at `fd`. Does nothing if `fd` is no terminal or accepts no output (Ctrl-S)."""
    with suppress(OSError):  # the terminal was closed
        if os.isatty(fd) and select.select([], [fd], [], 0)[1]:
            os.write(fd, b"\a")
