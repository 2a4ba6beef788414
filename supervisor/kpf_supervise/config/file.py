"""The configuration file as bytes: read once, without waiting for what may never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

PIPES = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")  # what shells call those that a user names on purpose


class NotAFile(OSError):
    """It is a pipe, a socket or a device. To read it might never end."""


def read(path: Path, limit: int = -1, pipe: bool = False) -> tuple[bytes, os.stat_result]:
    """The content of a regular file, of its first `limit` bytes, and what it was then. Where a `pipe` may be read, too,
    one that was named on purpose (/dev/stdin, <(…) in a shell) is read to its end; nothing else is waited for.
    Raises OSError; NotAFile for what is no regular file."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)  # a FIFO without a writer opens at once
    try:
        found = os.fstat(fd)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if stat.S_ISFIFO(found.st_mode) and pipe and str(path).startswith(PIPES):
            os.set_blocking(fd, True)
        elif not stat.S_ISREG(found.st_mode):
            what = "a pipe" if stat.S_ISFIFO(found.st_mode) else "a device"
            raise NotAFile(errno.EINVAL, f"it is {what}, not a regular file")
    except BaseException:
        os.close(fd)
        raise
    with open(fd, "rb") as file:
        return file.read(limit), found


def mark(found: os.stat_result) -> tuple[int, int, int, int]:
    """What changes with the content of a file, and where another takes its place."""
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
