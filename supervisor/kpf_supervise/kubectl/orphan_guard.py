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
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import trio

_STOPS = (signal.SIGTTIN, signal.SIGTTOU)
_SCRIPT = "trap '' INT TERM HUP QUIT TTIN TTOU; read _; kill -9 0"


class OrphanGuard:
    """`group` is the process group that children must join."""

    def __init__(self, group: int = 0) -> None:
        self.group = group
        self._joining = 0
        self._groups: list[tuple[trio.Process, int]] = []  # all there were, each with the pipe that it waits for

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

    async def keep(self, replaced: Callable[[], None]) -> None:
        """Start another one whenever somebody has killed it, and tell. Until cancelled; for the time in between, and
        for the children that are older, nobody would stand in."""
        while True:
            await self._groups[-1][0].wait()
            await self.begin()
            replaced()

    async def begin(self) -> None:
        """Start one; from now on children join its group."""
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
        self._groups.append((process, writing))
        self.group = process.pid

    async def end(self) -> None:
        """Every process that is still in a group has been killed then."""
        with trio.CancelScope(shield=True):
            for process, writing in self._groups:
                os.close(writing)
                await process.wait()
                # one may itself have been killed; usually nobody is left (macOS says EPERM of zombies)
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)


@asynccontextmanager
async def open_orphan_guard() -> AsyncIterator[OrphanGuard]:
    """Run a guard around the block."""
    guard = OrphanGuard()
    await guard.begin()
    try:
        yield guard
    finally:
        await guard.end()
