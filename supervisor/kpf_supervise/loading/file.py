"""Reads the configuration file as bytes, once, without blocking on anything that may never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

PIPES = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")  # paths that shells use for pipes named on purpose


class NotAFile(OSError):
    """The path is a pipe, a socket or a device, so reading it might never end."""


def read(path: Path, limit: int = -1, pipe: bool = False) -> tuple[bytes, os.stat_result]:
    """The first `limit` bytes of a regular file (default: all of it), and its stat result. With `pipe`, a pipe that was
    named on purpose (/dev/stdin, <(…) in a shell) is also read, up to `limit`; no other path can block.
    Raises OSError; NotAFile for anything but a regular file."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)  # O_NONBLOCK: a FIFO without a writer opens at once
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
    """A value that changes when the file's content changes or another file replaces it."""
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
