"""The composition root: the one place where signals, keeper, board, forwards and printer meet."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import trio

from .board import Board
from .keeper import Keeper, open_keeper
from .model import Cluster, Forward
from .notices import print_events
from .process import lines, running
from .supervise import supervise

_STDERR = 2
_LAST_LINES = 1.0  # seconds that a terminal gets to take the last notices


async def run(forwards: Sequence[Forward], binary: str, *, log_format: str = "text", sandbox: bool = False) -> None:
    """Keep `forwards` with the kubectl `binary` until SIGINT, SIGTERM or SIGHUP; then all ports are free again and no
    kubectl lives.

    With `sandbox` the embedded cluster is started first, and takes the place of every cluster that they name.
    """
    raise_open_files_limit()
    board = Board()
    async with trio.open_nursery() as around:
        stop = trio.CancelScope()
        await around.start(_cancel_on_signal, stop)
        async with trio.open_nursery() as printing:
            await printing.start(print_events, board, log_format, _STDERR)
            with stop:
                await _keep(forwards, binary, sandbox, board)
            board.close()
            printing.cancel_scope.deadline = trio.current_time() + _LAST_LINES
        around.cancel_scope.cancel()


async def _keep(forwards: Sequence[Forward], binary: str, sandbox: bool, board: Board) -> None:
    async with AsyncExitStack() as stack:
        keeper = await stack.enter_async_context(open_keeper())
        if sandbox:
            kubeconfig = await stack.enter_async_context(_open_sandbox(keeper))
            board.notice(f"the sandbox cluster is up: export KUBECONFIG={kubeconfig}")
            forwards = [replace(forward, cluster=Cluster(kubeconfig)) for forward in forwards]
        await supervise(forwards, binary, keeper, board)


async def _cancel_on_signal(
    scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Cancel `scope` at each signal that asks the program to end; runs to the end of the shutdown, so that a second
    Ctrl-C can't break it off half way."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()


@asynccontextmanager
async def _open_sandbox(keeper: Keeper) -> AsyncIterator[Path]:
    """Run the embedded cluster in a process of its own around the block; yields the path of its kubeconfig."""
    async with running([sys.executable, "-m", "supervisor.sandbox"], keeper) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        async with aclosing(lines(process.stdout)) as said:
            async for line in said:
                yield Path(line.decode().removeprefix("KUBECONFIG="))
                return
        trace = b"\n".join([line async for line in lines(process.stderr)]).decode(errors="replace")
        raise RuntimeError(f"the sandbox cluster did not start:\n{trace}")


def raise_open_files_limit() -> None:
    """To the hard limit, as Go programs do: each connection costs two descriptors here and two in kubectl."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # macOS says infinity and means less
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
