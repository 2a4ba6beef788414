"""Ends the children if we are killed.

A `kill -9` leaves us no word to say, so a tiny process outside says it: a shell that leads a process group, waits
for the end of a pipe that only we hold open, and then kills its whole group. Children join that group before
they exec (setpgid in the fork), so there is no moment in which one could be missed, and a credential plugin that
kubectl started ends with it. PR_SET_PDEATHSIG would not do: it follows the thread that spawned (trio's worker
threads end after 10 s idle) and is Linux's alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import trio

_STOPS = (signal.SIGTTIN, signal.SIGTTOU)
_SCRIPT = "trap '' INT TERM HUP QUIT TTIN TTOU; read _; kill -9 0"


class Keeper:
    """`group` is the process group that children must join."""

    def __init__(self, group: int) -> None:
        self.group = group
        self._joining = 0

    @contextmanager
    def joining(self) -> Iterator[None]:
        """Around the start of a child: one that asks for a password on /dev/tty gets an error. Else the kernel would
        stop the whole group, every kubectl there is for one credential plugin."""
        self._joining += 1
        for number in _STOPS:
            signal.signal(number, signal.SIG_IGN)  # children inherit it, and Go leaves these two as they are
        try:
            yield
        finally:
            self._joining -= 1
            if not self._joining:
                for number in _STOPS:
                    signal.signal(number, signal.SIG_DFL)


@asynccontextmanager
async def open_keeper() -> AsyncIterator[Keeper]:
    """Run a keeper around the block. On exit every process that is still in the group has been killed."""
    reading, writing = os.pipe()
    try:
        process = await trio.lowlevel.open_process(
            ["/bin/sh", "-c", _SCRIPT],
            stdin=reading,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    try:
        yield Keeper(process.pid)
    finally:
        os.close(writing)
        with trio.CancelScope(shield=True):
            await process.wait()
            # the keeper may itself have been killed from outside; usually nobody is left (macOS says EPERM of zombies)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
