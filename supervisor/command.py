"""A command that runs while the forwards are up, and finds them in its environment."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable, Sequence

import trio

from .board import Board
from .model import Forward, State, Status

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def prefix(forward: Forward) -> str:
    """`web/http` → `KPF_WEB_HTTP`."""
    return "KPF_" + re.sub(r"[^A-Z0-9]+", "_", forward.id.upper())


def alike(forwards: Iterable[Forward]) -> tuple[Forward, Forward] | None:
    """Two forwards that would share their variables, if there are any."""
    seen: dict[str, Forward] = {}
    for forward in forwards:
        if (other := seen.setdefault(prefix(forward), forward)) is not forward:
            return other, forward
    return None


def variables(statuses: Iterable[Status]) -> dict[str, str]:
    """`KPF_<NAME>_HOST`, `_PORT` and `_ADDR` of every forward that listens."""
    found = {}
    for status in statuses:
        if status.port is not None:
            host, name = status.forward.address, prefix(status.forward)
            host = _ANYWHERE.get(host, host)
            found[f"{name}_HOST"] = host
            found[f"{name}_PORT"] = str(status.port)
            found[f"{name}_ADDR"] = f"[{host}]:{status.port}" if ":" in host else f"{host}:{status.port}"
    return found


async def until_ready(board: Board, timeout: float) -> list[Status]:
    """Wait until every forward that is enabled and not lazy is active; returns those that are not after `timeout` s."""
    with board.subscription() as events, trio.move_on_after(timeout):
        while _missing(board):
            await events.receive()
    return _missing(board)


def _missing(board: Board) -> list[Status]:
    return [
        status
        for status in board.statuses
        if status.forward.enabled and not status.forward.lazy and status.state is not State.ACTIVE
    ]


class Command:
    """What the user wants to run. It shares our terminal and our process group."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._process: trio.Process | None = None

    async def run(self, board: Board) -> int:
        """Run it to its end. Returns its exit code as a shell has it: 127 or 126 where it can't be run, 128 and more
        where a signal ended it."""
        environment = {**os.environ, **variables(board.statuses)}
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
