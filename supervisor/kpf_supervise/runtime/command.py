"""A command that runs while the forwards are up, and gets their addresses in environment variables."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence

import trio

from kpf_supervise.config.contents import Proxy
from kpf_supervise.events.board import Board
from kpf_supervise.model import State, Status
from kpf_supervise.runtime.environment import alike, proxy_variables, variables

GRACE = 10.0  # seconds between SIGTERM and SIGKILL, as in docker compose and supervisord


async def until_ready(board: Board, timeout: float, keep_waiting: bool) -> list[Status]:
    """Wait until no forward is missing; returns those still missing after `timeout` seconds. If some have failed and
    will not recover by themselves, returns those at once, unless `keep_waiting` is set."""
    with board.subscription() as events, trio.move_on_after(timeout):
        while left := missing(board):
            if not keep_waiting and (hopeless := [status for status in left if status.hopeless]):
                return hopeless
            await events.receive()
    return missing(board)


def missing(board: Board) -> list[Status]:
    """The forwards that should be active but are not; lazy ones are left out."""
    return [
        status
        for status in board.statuses.values()
        if (status.port is not None or status.state is State.FAILED)
        and not status.forward.lazy
        and status.state is not State.ACTIVE
    ]


class Command:
    """The user's command. It shares our terminal and process group. Its environment gets the addresses of the forwards
    and `facts`. `code` is its exit code as in a shell, and 1 before it has run."""

    def __init__(self, words: Sequence[str], facts: Mapping[str, str]) -> None:
        self.code = 1
        self._words = words
        self._facts = facts
        self._process: trio.Process | None = None
        self._wanted = trio.CancelScope()

    async def run(self, board: Board, proxy: Proxy | None = None) -> None:
        """Run it to its end. Then `code` is 127 or 126 if it can't be run, 128 or more if a signal ended it. On
        cancellation or after `end`, it gets SIGTERM, and SIGKILL after GRACE seconds. It must end its own children:
        its process group is ours, and may be that of a whole script."""
        environment = {**os.environ, **self._facts}
        if pair := alike(id for id, status in board.statuses.items() if status.port is not None):
            board.notice(f"{pair[0]} and {pair[1]} have the same KPF_… variables; those of the last one are used")
        for status in board.statuses.values():
            if status.port is not None and not status.forward.proxied:
                environment |= variables(status.forward.id, status.forward.address, status.port)
        if proxy is not None:
            environment |= proxy_variables(proxy.address, proxy.port, os.environ)
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
        """Make `run` end it. False if it is not running."""
        self._wanted.cancel()
        return self._process is not None and self._process.poll() is None

    def pass_on(self, number: int) -> bool:
        """Send it a signal. False if it was not started. On a terminal, Ctrl-C has reached it already."""
        if self._process is None:
            return False
        if self._process.poll() is None and not (number == signal.SIGINT and os.isatty(0)):
            self._process.send_signal(number)
        return True
