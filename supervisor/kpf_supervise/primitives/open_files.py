"""How many files, sockets and pipes among them, this process may have open, and what is told when there are no more."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_AGAIN = 60.0  # seconds without a shortage after which the next one is told anew


def raise_limit() -> None:
    """To the hard limit, as Go programs do: each connection costs two descriptors here and two in kubectl."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS says infinity and means OPEN_MAX
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 10_240), hard))


@contextmanager
def shortage_told(notice: Callable[[str], None]) -> Iterator[None]:
    """Around the block, trio's listeners tell `notice` once for each shortage that they can accept no connection for
    want of descriptors. By themselves they would log a traceback ten times a second."""
    log = logging.getLogger("trio.serve_listeners")
    handler, before = _Handler(notice), log.propagate
    log.addHandler(handler)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = before


class _Handler(logging.Handler):
    def __init__(self, notice: Callable[[str], None]) -> None:
        super().__init__()
        self._notice = notice
        self._last = -_AGAIN

    def emit(self, record: logging.LogRecord) -> None:
        now, last = time.monotonic(), self._last
        self._last = now
        if now - last >= _AGAIN:
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            self._notice(
                f"no more than {limit} files can be open at a time: connections that come now wait until others end. "
                "Raise the limit with ulimit -n, and start again"
            )
