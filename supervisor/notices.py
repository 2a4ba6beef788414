"""What an event looks like: a line for people, or one JSON object for machines. The one place that prints."""

from __future__ import annotations

import json
import os
import stat

import trio

from . import wire
from .board import Board
from .model import UNPRINTED, Event, State

_LIMIT = 10_000  # events that may wait for a terminal that takes none


def as_text(event: Event) -> str | None:
    """A line for people; None for what only machines want to know."""
    return None if event.kind == State.CONNECTING or event.kind in UNPRINTED else wire.line(wire.event(event))


def as_json(event: Event) -> str | None:
    """One object: time (RFC 3339, UTC), forward, event, message, and what else the event carries."""
    return None if event.kind in UNPRINTED else json.dumps(wire.event(event), ensure_ascii=False)


async def print_events(
    board: Board, format: str, fd: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Write each event to `fd` until the board is closed; started once none can be missed. A reader that takes
    nothing holds up nobody, and loses events; one that is gone ends this."""
    write = as_json if format == "json" else as_text
    with board.subscription(_LIMIT) as events:
        task_status.started()
        async for event in events:
            if (line := write(event)) is not None and not await _write(fd, line + "\n"):
                return


async def _write(fd: int, text: str) -> bool:
    data = text.encode(errors="replace")
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            await trio.lowlevel.wait_writable(fd)
        while data:
            data = data[os.write(fd, data) :]
    except OSError:  # the terminal was closed, or the reader of the pipe ended
        return False
    return True
