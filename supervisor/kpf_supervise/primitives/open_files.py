"""The limit on open files, which include sockets and pipes, and the notice when this process reaches it."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_AGAIN = 60.0  # seconds without a shortage after which the next one is reported


def raise_limit() -> None:
    """Raise the soft limit to the hard limit, as Go programs do. Each connection uses two descriptors here and two in
    kubectl."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS reports infinity but accepts at most OPEN_MAX
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 10_240), hard))


@contextmanager
def shortage_told(notice: Callable[[str], None]) -> Iterator[None]:
    """Inside the block, `notice` is called once per shortage when trio's listeners can't accept connections because no
    descriptors are left. Without this, trio would log a traceback ten times a second."""
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
                f"no more than {limit} files can be open at a time: new connections wait until others end. "
                "Raise the limit with ulimit -n, and start again"
            )
