"""The configuration file while it is being edited: each right version of it, and what is wrong with the others."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TypeVar

import trio

from kpf_supervise.config.errors import ConfigError, FileMistake
from kpf_supervise.config.file import mark
from kpf_supervise.config.loader import load
from kpf_supervise.model import Config

_LOOK = 0.5  # seconds between two looks; a stat costs microseconds, and survives every way of saving a file
_PATIENCE = 5.0  # seconds that the disk or the network home has for a reading

_Mark = tuple[int, int, int, int]
_T = TypeVar("_T")


class FileWatcher:
    """Looks at what the path leads to, through symbolic links, so that an editor may rename a new file over it.

    Each look is in a worker thread, since a network home that hangs lets nobody go; one at a time, whoever waits for
    it. `mark` is of what was read at the start; None: of a pipe, which has no edits.
    """

    def __init__(self, path: Path, mark: _Mark | None) -> None:
        self._path = path
        self._known = mark
        self._one = trio.CapacityLimiter(1)  # a thread that is left alone keeps its place until it returns

    async def read(self) -> Config:
        """The configuration as it is now. Raises ConfigError, also where there is no answer in time."""
        with trio.move_on_after(_PATIENCE):
            self._known, found = await self._apart(_attempt)
            if isinstance(found, ConfigError):
                raise found
            return found
        fix = "Check the disk or the network that it is on."
        raise ConfigError([FileMistake(str(self._path), 0, 0, "", f"no answer to reading it in {_PATIENCE:g} s", fix)])

    async def follow(self, notice: Callable[[str], None]) -> AsyncGenerator[Config, None]:
        """Each new right content of the file that was not read yet, once it has stayed the same for two looks. Never
        ends by itself. A file that is wrong, or gone, changes nothing, and `notice` is told why."""
        if self._known is None:
            await trio.sleep_forever()
        before: _Mark | None = self._known
        while True:
            await trio.sleep(_LOOK)
            now = await self._apart(_look)
            if now != self._known and now == before:
                try:
                    config = await self.read()
                except ConfigError as error:
                    for problem in error.problems:
                        notice(f"the file was not applied, nothing has changed: {problem}")
                else:
                    yield config
            before = now

    async def _apart(self, do: Callable[[Path], _T]) -> _T:
        return await trio.to_thread.run_sync(do, self._path, abandon_on_cancel=True, limiter=self._one)


def _look(path: Path) -> _Mark | None:
    try:
        return mark(os.stat(path))
    except (OSError, ValueError):
        return None


def _attempt(path: Path) -> tuple[_Mark | None, Config | ConfigError]:
    """What is there, and what it holds: what was looked at is not read again, right or wrong."""
    seen = _look(path)
    try:
        return seen, load(path)
    except ConfigError as error:
        return seen, error
