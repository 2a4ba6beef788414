"""One kubectl process: started in the guard's process group, stopped gracefully, read line by line."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import trio

from kpf_supervise.kubectl.causes import explain
from kpf_supervise.kubectl.command_line import to_answer
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.model import ANYWHERE, Cause, Cluster, ForwardError, Problem

TIMEOUT = 15.0  # seconds of silence; a healthy API server starts to answer at once
GRACE = 1.0  # seconds between SIGINT and SIGKILL; kubectl needs 10 ms
LINE = 64 * 1024  # bytes of a line that kubectl writes for people; its own messages are shorter
SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)  # temporary
_LINGER = 0.5  # seconds for the last output after the exit: a grandchild may hold the pipe open forever


@asynccontextmanager
async def running(
    command: Sequence[str],
    guard: OrphanGuard,
    environment: Mapping[str, str] | None = None,
    with_children: bool = False,
) -> AsyncIterator[trio.Process]:
    """Run `command` around the block. stdout and stderr are pipes; stdin is empty, so it can't wait for a prompt.

    After the block the process has ended and is reaped. If it still ran, it got SIGINT, and SIGKILL after GRACE s.
    `with_children`: what it runs itself is killed then, which kubectl would leave running: a credential plugin.
    Raises ForwardError: KUBECTL if the binary can't be run, OTHER if the system has no resources for a process now.
    """
    try:
        with guard.joining():
            process = await trio.lowlevel.open_process(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                process_group=guard.group,
            )
    except OSError as error:
        if error.errno in SHORTAGES:
            step = "Close other programs, or raise the limits: ulimit -n, ulimit -u"
            raise ForwardError(Problem(Cause.OTHER, f"kubectl can't be started now: {error.strerror}", step)) from error
        raise ForwardError(
            Problem(
                Cause.KUBECTL,
                f"cannot run {command[0]}: {error.strerror or error}",
                "Install kubectl (1.20 or later), or name its path under kubectl: in the configuration",
            )
        ) from error
    assert process.stdout is not None
    assert process.stderr is not None
    guard.children[process] = command
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            children = _children(process.pid) if with_children and process.poll() is None else []
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                with trio.move_on_after(GRACE):
                    await process.wait()
                if process.poll() is None:
                    process.kill()
                    await process.wait()
            del guard.children[process]
            for child in children:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(child, signal.SIGKILL)
            await process.stdout.aclose()
            await process.stderr.aclose()


def _children(pid: int) -> list[int]:
    import psutil  # slow to import and rarely needed

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


async def lines(stream: AsyncIterable[bytes | bytearray], limit: int = LINE) -> AsyncGenerator[bytes, None]:
    """The lines of a stream without their newlines. The last line needs no newline. A line longer than `limit` bytes is
    cut."""
    line = bytearray()
    async for chunk in stream:
        begin = 0
        while (end := chunk.find(b"\n", begin)) >= 0:
            line += chunk[begin : min(end, begin + limit - len(line))]
            yield bytes(line)
            line.clear()
            begin = end + 1
        line += chunk[begin : begin + limit - len(line)]
    if line:
        yield bytes(line)


async def read_to_end(process: trio.Process, *readers: trio.Nursery) -> int:
    """Wait for the exit and return its code. The nurseries that read the pipes get _LINGER seconds for the rest."""
    code = await process.wait()
    for nursery in readers:
        nursery.cancel_scope.deadline = trio.current_time() + _LINGER
    return code


async def output(
    command: Sequence[str], guard: OrphanGuard, cluster: Cluster = ANYWHERE, timeout: float = TIMEOUT
) -> bytes:
    """The stdout of a kubectl that answers one question about `cluster` and ends. Raises ForwardError: kubectl's own
    error, or TOO_SLOW after `timeout` seconds without output. A long answer over a slow line may take longer."""
    out = bytearray()
    said: list[str] = []

    async def keep_stdout(stream: trio.abc.ReceiveStream) -> None:
        async for chunk in stream:
            out.extend(chunk)
            silence.deadline = trio.current_time() + timeout

    async def keep_stderr(stream: trio.abc.ReceiveStream) -> None:
        async for line in lines(stream):
            said.append(line.decode(errors="replace"))

    with trio.move_on_after(timeout) as silence:
        async with running(command, guard, to_answer(os.environ)) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keep_stdout, process.stdout)
                nursery.start_soon(keep_stderr, process.stderr)
                code = await read_to_end(process, nursery)
        if code == 0:
            return bytes(out)
        raise ForwardError(explain(said, code, cluster))
    raise ForwardError(too_slow(timeout))


def too_slow(timeout: float) -> Problem:
    return Problem(
        Cause.TOO_SLOW,
        f"the API server gave kubectl no answer in {timeout:g} s",
        "Is the VPN up? Check with: kubectl get --raw /version",
    )
