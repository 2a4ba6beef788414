"""The composition root: the one place where signals, keeper, board, forwards and printer meet."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from .board import Board
from .command import Command, until_ready
from .edits import edits
from .keeper import Keeper, open_keeper
from .model import Cluster, Config, Forward
from .notices import print_events
from .process import lines, running
from .supervise import supervise

_STDERR = 2
_LAST_LINES = 1.0  # seconds that a terminal gets to take the last notices


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one run is to do."""

    config: Config
    path: Path | None  # where the configuration came from, and its edits come
    kubectl: str
    log_format: str = "text"
    sandbox: bool = False  # the embedded cluster takes the place of every cluster that the forwards name
    command: Sequence[str] = ()  # run once all are active; its end is the end
    ready_timeout: float = 30.0  # seconds that the command waits for that


async def run(job: Job) -> int:
    """Keep the forwards until SIGINT, SIGTERM or SIGHUP, or until the command ends; then all ports are free again and
    no kubectl lives. Returns the exit code."""
    raise_open_files_limit()
    board = Board()
    guest = Command(job.command) if job.command else None
    ending = _Ending()
    async with trio.open_nursery() as around:
        await around.start(_end_on_signal, ending, guest)
        async with trio.open_nursery() as printing:
            await printing.start(print_events, board, job.log_format, _STDERR)
            with ending.scope:
                await _keep(job, board, guest, ending)
            board.close()
            printing.cancel_scope.deadline = trio.current_time() + _LAST_LINES
        around.cancel_scope.cancel()
    return ending.code


class _Ending:
    """Cancel `scope` to stop all; `code` is then the exit code."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.code = 0


async def _end_on_signal(
    ending: _Ending, guest: Command | None, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Stop all at each signal that asks the program to end, or pass it on to the guest. Runs to the end of the
    shutdown, so that a second Ctrl-C can't break it off half way."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            if guest is None:
                ending.scope.cancel()
            elif not guest.pass_on(number):
                ending.code = 128 + number
                ending.scope.cancel()


async def _keep(job: Job, board: Board, guest: Command | None, ending: _Ending) -> None:
    async with AsyncExitStack() as stack:
        keeper = await stack.enter_async_context(open_keeper())
        cluster = None
        if job.sandbox:
            cluster = Cluster(await stack.enter_async_context(_open_sandbox(keeper)))
            board.notice(f"the sandbox cluster is up: export KUBECONFIG={cluster.kubeconfig}")

        def placed(config: Config) -> list[Forward]:
            return [replace(each, cluster=cluster) if cluster else each for each in config.forwards]

        async def later() -> AsyncGenerator[list[Forward], None]:
            if job.path is not None:
                async with aclosing(edits(job.path, board.notice)) as versions:
                    async for edited in versions:
                        board.notice(f"{job.path.name} has changed, and is applied")
                        yield placed(edited)

        async with aclosing(later()) as changes, trio.open_nursery() as nursery:
            await nursery.start(supervise, placed(job.config), changes, job.kubectl, keeper, board)
            if guest is not None:
                ending.code = await _attend(guest, board, job.ready_timeout)
                ending.scope.cancel()


async def _attend(guest: Command, board: Board, ready_timeout: float) -> int:
    """Run the guest once all is ready. Returns the exit code."""
    missing = await until_ready(board, ready_timeout)
    for status in missing:
        why = status.problem.message if status.problem else "no answer yet"
        board.notice(f"{status.forward.id} is {status.state} after {ready_timeout:g} s: {why}")
    return 1 if missing else await guest.run(board)


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
    except (OSError, ValueError):  # macOS says infinity and means OPEN_MAX
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 10_240), hard))
