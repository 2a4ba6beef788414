"""Prints events: as lines for people, or as JSON objects for programs. Nothing else prints them."""

from __future__ import annotations

import errno
import json
import os
import stat

import trio

from kpf_supervise.events import serialize
from kpf_supervise.events.board import Board
from kpf_supervise.model import NOTICE, UNPRINTED, Event, State

_LIMIT = 10_000  # events that may queue while the terminal accepts no output


def _only_sent(event: Event) -> bool:
    return event.kind in UNPRINTED or not event.printed


def as_text(event: Event) -> str | None:
    """A line for people, followed by the traceback if the event is a bug; None for events that only programs need."""
    if event.kind == State.CONNECTING or _only_sent(event):
        return None
    return "\n".join((serialize.line(serialize.event(event)), *event.traceback))


def as_json(event: Event) -> str | None:
    """One JSON object; None for events that are sent only to subscribers."""
    return None if _only_sent(event) else json.dumps(serialize.event(event), ensure_ascii=False)


async def print_events(
    board: Board,
    format: str,
    fd: int,
    kept: bool = False,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Write each event to `fd` until the board is closed, with `kept` also the earlier ones. Reports `started` once no
    event can be missed. A reader that stops reading blocks nothing else and loses events; when the reader is gone, this
    returns. A file that can't be written (the disk is full) loses lines; once it can be written again, a line says how
    many are missing."""
    show = as_json if format == "json" else as_text
    lost, why, torn = 0, "", False
    with board.subscription(_LIMIT, kept) as events:
        task_status.started()
        async for event in events:
            line = show(event)
            if line is None:
                continue
            if lost:
                missing = f"{lost} line{'s are' if lost > 1 else ' is'} missing here: {why}"
                line = f"{show(Event(time=event.time, forward=None, kind=NOTICE, message=missing))}\n{line}"
            data = f"{line}\n".encode(errors="replace")
            try:
                await _write(fd, b"\n" + data if torn else data)
            except _Full as full:
                lost, why, torn = lost + 1, full.why, torn or full.begun
            except OSError:  # the terminal or the reading end of the pipe was closed
                return
            else:
                lost, torn = 0, False


class _Full(Exception):
    """The file can't be written now, but may be later. `begun`: a part of the line was written."""

    def __init__(self, why: str, begun: bool) -> None:
        super().__init__(why)
        self.why, self.begun = why, begun


async def _write(fd: int, data: bytes) -> None:
    """Write all of `data`. Raises _Full, or OSError if it can never be read."""
    mode = os.fstat(fd).st_mode
    waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)
    if waits:
        await trio.lowlevel.wait_writable(fd)
    written = 0
    while written < len(data):
        try:
            written += os.write(fd, data[written:])
        except OSError as error:
            if waits or (error.errno == errno.EIO and not stat.S_ISREG(mode)):  # isatty is false for a closed terminal
                raise
            raise _Full(os.strerror(error.errno or 0), written > 0) from error
