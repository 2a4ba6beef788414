"""A command that runs while the forwards are up, and finds them in its environment."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence

import trio

from .board import Board
from .model import State, Status
from .variables import variables


async def until_ready(board: Board, timeout: float) -> list[Status]:
    """Wait until none is missing; returns those that are after `timeout` seconds."""
    with board.subscription() as events, trio.move_on_after(timeout):
        while missing(board):
            await events.receive()
    return missing(board)


def missing(board: Board) -> list[Status]:
    """The forwards that are meant to run, not lazy and not active."""
    return [
        status
        for status in board.statuses.values()
        if (status.port is not None or status.state is State.FAILED)
        and not status.forward.lazy
        and status.state is not State.ACTIVE
    ]


class Command:
    """What the user wants to run. It shares our terminal and our process group, and finds `facts` in its environment
    beside the forwards."""

    def __init__(self, words: Sequence[str], facts: Mapping[str, str]) -> None:
        self._words = words
        self._facts = facts
        self._process: trio.Process | None = None

    async def run(self, board: Board) -> int:
        """Run it to its end. Returns its exit code as a shell has it: 127 or 126 where it can't be run, 128 and more
        where a signal ended it."""
        environment = {**os.environ, **self._facts}
        for status in board.statuses.values():
            if status.port is not None:
                environment |= variables(status.forward.id, status.forward.address, status.port)
        try:
            self._process = await trio.lowlevel.open_process(list(self._words), env=environment)
        except OSError as error:
            board.notice(f"cannot run {self._words[0]}: {error.strerror or error}")
            return 127 if isinstance(error, FileNotFoundError) else 126
        try:
            code = await self._process.wait()
        finally:
            if self._process.poll() is None:
                self._process.terminate()
        return code if code >= 0 else 128 - code

    def pass_on(self, number: int) -> bool:
        """Send it a signal; False where it doesn't run. On a terminal, Ctrl-C has reached it already."""
        if self._process is None:
            return False
        if self._process.poll() is None and not (number == signal.SIGINT and os.isatty(0)):
            self._process.send_signal(number)
        return True
