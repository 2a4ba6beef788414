"""A command that runs while the forwards are up, and finds them in its environment."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence

import trio

from kpf_supervise.events.board import Board
from kpf_supervise.instance.environment import variables
from kpf_supervise.model import State, Status

GRACE = 10.0  # seconds between SIGTERM and SIGKILL, as docker compose and supervisord give


async def until_ready(board: Board, timeout: float, keep_waiting: bool) -> list[Status]:
    """Wait until none is missing; returns those that are after `timeout` seconds. Where one does not come back by
    itself, nothing more is waited for, unless asked to `keep_waiting`."""
    with board.subscription() as events, trio.move_on_after(timeout):
        while left := missing(board):
            if not keep_waiting and (hopeless := [status for status in left if status.hopeless]):
                return hopeless
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
    beside the forwards. `code` is its exit code as a shell has it; 1 as long as it has not run."""

    def __init__(self, words: Sequence[str], facts: Mapping[str, str]) -> None:
        self.code = 1
        self._words = words
        self._facts = facts
        self._process: trio.Process | None = None
        self._wanted = trio.CancelScope()

    async def run(self, board: Board) -> None:
        """Run it to its end; `code` is 127 or 126 then where it can't be run, 128 and more where a signal ended it.
        Where this is cancelled, or `end` called, it gets SIGTERM, and SIGKILL after GRACE seconds. What it has started
        itself is its own to end: the process group is ours, and may be a whole script's."""
        environment = {**os.environ, **self._facts}
        for status in board.statuses.values():
            if status.port is not None:
                environment |= variables(status.forward.id, status.forward.address, status.port)
        try:
            self._process = await trio.lowlevel.open_process(list(self._words), env=environment)
        except OSError as error:
            board.notice(f"cannot run {self._words[0]}: {error.strerror or error}")
            self.code = 127 if isinstance(error, FileNotFoundError) else 126
            return
        try:
            with self._wanted:
                await self._process.wait()
        finally:
            with trio.CancelScope(shield=True):
                if self._process.poll() is None:
                    self._process.terminate()
                    with trio.move_on_after(GRACE):
                        await self._process.wait()
                if self._process.poll() is None:
                    self._process.kill()
                code = await self._process.wait()
            self.code = code if code >= 0 else 128 - code

    def end(self) -> bool:
        """Have `run` end it; False where it doesn't run."""
        self._wanted.cancel()
        return self._process is not None and self._process.poll() is None

    def pass_on(self, number: int) -> bool:
        """Send it a signal; False where it doesn't run. On a terminal, Ctrl-C has reached it already."""
        if self._process is None:
            return False
        if self._process.poll() is None and not (number == signal.SIGINT and os.isatty(0)):
            self._process.send_signal(number)
        return True
