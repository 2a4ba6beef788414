"""The configuration file while it is being edited: each right version of it, and what is wrong with the others."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import trio

from .config import load
from .model import Config
from .problems import ConfigError

_LOOK = 0.5  # seconds between two looks; a stat costs microseconds, and survives every way of saving a file

_Mark = tuple[int, int, int, int]


class Edits:
    """Looks at what the path leads to, through symbolic links, so that an editor may rename a new file over it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _mark(path)

    def read(self) -> Config:
        """The configuration as it is now. Raises ConfigError."""
        self._known = _mark(self._path)
        return load(self._path)

    async def follow(self, notice: Callable[[str], None]) -> AsyncGenerator[Config, None]:
        """Each new right content of the file that was not read yet, once it has stayed the same for two looks. Never
        ends by itself. A file that is wrong, or gone, changes nothing, and `notice` is told why."""
        before = self._known
        while True:
            await trio.sleep(_LOOK)
            now = _mark(self._path)
            if now != self._known and now == before:
                try:
                    config = self.read()
                except ConfigError as error:
                    for problem in error.problems:
                        notice(f"the file was not applied, nothing has changed: {problem}")
                else:
                    yield config
            before = now


def _mark(path: Path) -> _Mark | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
