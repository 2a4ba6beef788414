"""Ends the children if we are killed.

A process can't react to `kill -9`, so a tiny second process does: a shell that leads a process group, waits for EOF
on a pipe that only we hold open, and then kills its whole group. Children join that group before they exec (setpgid
in the fork), so none is ever missed. A credential plugin that kubectl started is killed as well. PR_SET_PDEATHSIG
does not work: it follows the thread that spawned (trio's worker threads end after 10 s idle) and exists only on Linux.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

import trio

_STOPS = (signal.SIGTTIN, signal.SIGTTOU)
_SCRIPT = "trap '' INT TERM HUP QUIT TTIN TTOU; read _; kill -9 0"


class OrphanGuard:
    """`group` is the process group that children must join."""

    def __init__(self, group: int = 0) -> None:
        self.group = group
        self.children: dict[trio.Process, Sequence[str]] = {}  # those that run, with their commands
        self._joining = 0
        self._groups: list[tuple[trio.Process, int]] = []  # all guards so far, each with its pipe's write end

    @contextmanager
    def joining(self) -> Iterator[None]:
        """Wrap the start of a child. A child that asks for a password on /dev/tty then gets an error. Otherwise the
        kernel would stop the whole group: every kubectl because of one credential plugin."""
        self._joining += 1
        for number in _STOPS:
            signal.signal(number, signal.SIG_IGN)  # children inherit it, and Go does not change these two
        try:
            yield
        finally:
            self._joining -= 1
            if not self._joining:
                for number in _STOPS:
                    signal.signal(number, signal.SIG_DFL)

    async def keep(self, replaced: Callable[[], None]) -> None:
        """Start a new guard whenever one was killed, and call `replaced`. Runs until cancelled. Nothing guards older
        children, or any child until the new guard runs."""
        while True:
            await self._groups[-1][0].wait()
            await self.begin()
            replaced()

    async def begin(self) -> None:
        """Start a guard. New children join its group."""
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
        """Returns once every process still in a group has been killed."""
        with trio.CancelScope(shield=True):
            for process, writing in self._groups:
                os.close(writing)
                await process.wait()
                # a guard may have been killed itself; usually the group is empty (macOS: EPERM for zombies)
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
