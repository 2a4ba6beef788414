"""`python -m kpf_supervise.sandbox`: run the cluster alone, for interactive use and to benchmark other programs."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from kpf_supervise.sandbox.cluster import open_cluster
from kpf_supervise.sandbox.content import more_services
from kpf_supervise.sandbox.timing import Timing

_PREFIX = "kpf-sandbox-"
_NEW = 60.0  # seconds; a newer folder may not be locked yet


async def _until_signal(scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()


async def _until_eof(scope: trio.CancelScope) -> None:
    """Cancel `scope` at the end of standard input, so that this process does not outlive its parent."""
    async with trio.lowlevel.FdStream(sys.stdin.fileno()) as stdin:
        while await stdin.receive_some():
            pass
    scope.cancel()


async def run(directory: Path, timing: Timing, until_eof: bool, services: int) -> None:
    """Serve until SIGINT or SIGTERM (or the end of stdin), then remove the kubeconfig."""
    async with trio.open_nursery() as nursery:
        await nursery.start(_until_signal, nursery.cancel_scope)
        if until_eof:
            nursery.start_soon(_until_eof, nursery.cancel_scope)
        async with open_cluster(directory, timing) as cluster:
            more_services(cluster.store, services)
            print(f"KUBECONFIG={cluster.kubeconfig}", flush=True)
            await trio.sleep_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m kpf_supervise.sandbox", description=__doc__)
    parser.add_argument("--directory", type=Path, help="where to write the kubeconfig (default: a temporary one)")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends")
    parser.add_argument("--real-times", action="store_true", help="take as long for everything as a real cluster")
    parser.add_argument("--services", type=int, default=0, help="so many more that lead where the service web does")
    options = parser.parse_args()
    timing = Timing.real() if options.real_times else Timing()
    with _own_folder() as temporary:
        directory = (options.directory or temporary).resolve()
        directory.mkdir(parents=True, exist_ok=True)
        trio.run(partial(run, directory, timing, options.until_eof, options.services))


@contextmanager
def _own_folder() -> Iterator[Path]:
    """A temporary folder, locked while this process lives. Folders left behind by killed processes are removed."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # in use, or already removed
            found = left.lstat()
            if found.st_uid == os.getuid() and found.st_mtime < time.time() - _NEW:
                with _locked(left):
                    shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder, _locked(Path(folder)):
        yield Path(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on `folder`. Raises OSError if it can't be locked."""
    fd = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(fd)


if __name__ == "__main__":
    main()
