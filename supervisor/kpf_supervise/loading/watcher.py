"""Watches the configuration file for edits: yields each valid version, and reports what is wrong with the others."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TypeVar

import trio

from kpf_supervise.config.contents import Config
from kpf_supervise.config.errors import ConfigError, FileMistake
from kpf_supervise.loading.file import mark
from kpf_supervise.loading.loader import load

_LOOK = 0.5  # seconds between two checks; a stat costs microseconds, and it does not matter how the file is saved
_PATIENCE = 5.0  # seconds that the disk or network file system may take to answer a read

_Mark = tuple[int, int, int, int]
_T = TypeVar("_T")


class FileWatcher:
    """Checks what is at the path, and follows symbolic links: an editor may rename a new file over the old one.

    Each check runs in a worker thread, since a network file system that hangs blocks the calling thread. Only one check
    runs at a time. `mark` identifies the version read at the start; None: that was a pipe, which can't be edited.
    `notice` is told why a version is not applied.
    """

    def __init__(self, path: Path, mark: _Mark | None, notice: Callable[[str], None]) -> None:
        self._path = path
        self._notice = notice
        self.mistakes: list[str] = []  # of the version read last; empty if it is valid
        self._known = mark
        self._one = trio.CapacityLimiter(1)  # an abandoned thread keeps its token until it returns

    async def read(self) -> Config:
        """The current configuration. Raises ConfigError, which `notice` is told, also if the read times out."""
        found: Config | ConfigError
        with trio.move_on_after(_PATIENCE) as patience:
            self._known, found = await self._apart(_attempt)
            self.mistakes = [str(each) for each in found.problems] if isinstance(found, ConfigError) else []
        if patience.cancelled_caught:
            fix = "Check the disk or the network that it is on."
            said = f"no answer to reading it in {_PATIENCE:g} s"
            found = ConfigError([FileMistake(str(self._path), 0, 0, "", said, fix)])
        if isinstance(found, ConfigError):
            for problem in found.problems:
                self._notice(f"the file was not applied, nothing has changed: {problem}")
            raise found
        return found

    async def follow(self) -> AsyncGenerator[Config, None]:
        """Yields each new valid version of the file once it was the same in two checks. Skips versions already read.
        Never ends by itself. A file that is invalid or missing changes nothing."""
        if self._known is None:
            await trio.sleep_forever()
        before: _Mark | None = self._known
        while True:
            await trio.sleep(_LOOK)
            now = await self._apart(_look)
            if now != self._known and now == before:
                try:
                    config = await self.read()
                except ConfigError:
                    pass
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
    """The file's mark and its content. The mark prevents a second read of the same version, valid or not."""
    seen = _look(path)
    try:
        return seen, load(path)
    except ConfigError as error:
        return seen, error
