"""The composition root: the one place where signals, guard, board, forwards and printer meet."""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

import trio

from kpf_supervise.control.handlers import Handlers
from kpf_supervise.control.server import Connection, serve
from kpf_supervise.control.unix_socket import Running, control_socket
from kpf_supervise.events.board import Board
from kpf_supervise.events.log import print_events
from kpf_supervise.events.notifications import notify, ring_on
from kpf_supervise.instance.command import Command, until_ready
from kpf_supervise.instance.desired_state import DesiredState
from kpf_supervise.instance.detach import say_up, shutdown_line
from kpf_supervise.instance.paths import socket_of
from kpf_supervise.instance.supervisor import Supervisor
from kpf_supervise.instance.systemd import tell_service_manager
from kpf_supervise.kubectl.orphan_guard import OrphanGuard, open_orphan_guard
from kpf_supervise.kubectl.process import lines, running
from kpf_supervise.model import Cluster, Config
from kpf_supervise.primitives.boundary import bare, unbroken
from kpf_supervise.primitives.open_files import raise_limit, shortage_told

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
    socket: Path | None = None  # the control socket; None: one in the user's runtime folder
    persist: bool = False
    command: Sequence[str] = ()  # run once all are active; its end is the end
    ready_timeout: float = 30.0  # seconds that the command waits for that
    keep_waiting: bool = False  # also for a forward that does not come back by itself
    panel: bool = False  # shown on the terminal; the events are then printed only where stderr leads elsewhere


async def run(job: Job) -> int:
    """Keep the forwards until SIGINT, SIGTERM or SIGHUP, until the command ends, or somebody says so over the control
    socket; then all ports are free again and no kubectl lives. Returns the exit code."""
    raise_limit()
    path = job.socket or socket_of(job.path, str(os.getpid()) if job.command else "")
    with ExitStack() as stack:
        control, unreachable = None, ""
        try:
            control = stack.enter_context(control_socket(path, private=job.socket is None))
        except Running as running:
            return _refuse(
                f"an instance is running already: {running}. Control it with kpfctl, end it with: "
                f"{shutdown_line(job.path, job.socket)}, or give this one a socket of its own: --socket PATH"
            )
        except OSError as error:
            if job.socket is not None:
                return _refuse(f"cannot make the control socket: {error}")
            unreachable = f"kpfctl can't reach this instance, for want of a control socket: {error}"
        return await _run(job, control, path, unreachable)


def _refuse(why: str) -> int:
    print(f"kpf-supervise: {why}", file=sys.stderr)
    return 1


async def _run(job: Job, control: socket.socket | None, path: Path, unreachable: str) -> int:
    board = Board()
    guest = Command(job.command, {"KPF_SOCKET": str(path)} if control else {}) if job.command else None
    ending = _Ending()
    async with trio.open_nursery() as around:  # to the very end: signals, and whoever asked for that over the socket
        await around.start(_end_on_signal, ending, guest)

        async with trio.open_nursery() as showing:

            def open_to_others(handlers: Handlers) -> None:
                if control is not None:
                    around.start_soon(serve, control, handlers)
                if job.panel:
                    ours, theirs = map(trio.SocketStream, map(trio.socket.from_stdlib_socket, socket.socketpair()))
                    around.start_soon(Connection(theirs, handlers, lambda: None).run)
                    showing.start_soon(_show_panel, ours, board, ending, panel, printed)

            panel = trio.CancelScope()
            printed = not job.panel or not os.isatty(_STDERR)
            if printed:
                await showing.start(_print, board, job.log_format)
            if unreachable:
                board.notice(unreachable)
            with ending.scope, shortage_told(board.notice):
                await _keep(job, board, guest, ending, open_to_others)
            panel.cancel()
            board.close()
            showing.cancel_scope.deadline = trio.current_time() + _LAST_LINES
        around.cancel_scope.cancel()
    return ending.code or (guest.code if guest is not None else 0)


async def _show_panel(
    stream: trio.SocketStream, board: Board, ending: _Ending, scope: trio.CancelScope, printed: bool
) -> None:
    """The panel until the user quits, which ends all, or until `scope` is cancelled. A fault in the panel, or a
    terminal that is gone, ends only the panel: then events are printed instead, unless they are `printed` already."""
    with scope:
        try:
            module = await trio.to_thread.run_sync(
                import_module, "kpf_supervise.panel.terminal"
            )  # urwid takes a while to load
            if await module.show(stream, own=True):
                ending.scope.cancel()
                return
        except* Exception as bugs:
            board.bug(bugs, "the panel")
            if not printed:
                traceback.print_exception(bare(bugs))
        if not printed:
            await _print(board, "text")


async def _print(board: Board, format: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """`print_events` behind a boundary; what breaks it is told without it."""
    status = task_status

    async def once() -> None:
        nonlocal status
        first, status = status, trio.TASK_STATUS_IGNORED
        await print_events(board, format, _STDERR, task_status=first)

    def failed(error: BaseException, _: float) -> None:
        traceback.print_exception(error)
        board.bug(error, "the printer of events")

    await unbroken(once, failed)


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


async def _keep(
    job: Job, board: Board, guest: Command | None, ending: _Ending, open_to_others: Callable[[Handlers], None]
) -> None:
    async with AsyncExitStack() as stack:
        guard = await stack.enter_async_context(open_orphan_guard())
        cluster = None
        if job.sandbox:
            cluster = Cluster(await stack.enter_async_context(_open_sandbox(guard)))
            board.notice(f"the sandbox cluster is up: export KUBECONFIG={cluster.kubeconfig}")
        nursery = await stack.enter_async_context(trio.open_nursery())
        supervisor = Supervisor(job.kubectl, guard, board)
        await nursery.start(supervisor.run)
        declared = DesiredState(job.config, job.path, job.persist, cluster, supervisor, board)
        await declared.begin()

        def shut_down() -> None:
            if guest is None or not guest.end():  # its end is the end of all
                ending.scope.cancel()

        open_to_others(Handlers(supervisor, board, declared, shut_down))
        say_up()
        for what, run in (
            ("the word to the service manager", partial(tell_service_manager, board)),
            ("notifications", partial(notify, board, partial(ring_on, _STDERR))),
        ):
            nursery.start_soon(unbroken, run, board.failing(what))
        if guest is not None:
            await _attend(guest, board, job)
            ending.scope.cancel()
        await unbroken(declared.follow, board.failing("the look for edits of the file"))


async def _attend(guest: Command, board: Board, job: Job) -> None:
    """Run the guest once all is ready."""
    missing = await until_ready(board, job.ready_timeout, job.keep_waiting)
    for status in missing:
        if status.hopeless and not job.keep_waiting:
            how = "has failed, and does not come back by itself"
        else:
            how = f"is {status.state} after {job.ready_timeout:g} s"
        board.notice(f"{status.forward.id} {how}: {status.problem or 'no answer yet'}")
    if not missing:
        await guest.run(board)


@asynccontextmanager
async def _open_sandbox(guard: OrphanGuard) -> AsyncIterator[Path]:
    """Run the embedded cluster in a process of its own around the block; yields the path of its kubeconfig."""
    command = [sys.executable, "-P", "-m", "kpf_supervise.sandbox"]  # -P: no module of the current folder is ours
    async with running(command, guard) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        async with aclosing(lines(process.stdout)) as said:
            async for line in said:
                yield Path(line.decode().removeprefix("KUBECONFIG="))
                return
        trace = b"\n".join([line async for line in lines(process.stderr)]).decode(errors="replace")
        raise RuntimeError(f"the sandbox cluster did not start:\n{trace}")
