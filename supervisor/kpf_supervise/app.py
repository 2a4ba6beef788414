"""The composition root: connects the signals, the OrphanGuard, the Board, the forwards and the event printer."""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from kpf_supervise.config.contents import Config, Proxy
from kpf_supervise.control.handlers import Handlers
from kpf_supervise.control.server import serve
from kpf_supervise.control.unix_socket import Running, control_socket
from kpf_supervise.events.board import Board
from kpf_supervise.events.log import print_events
from kpf_supervise.events.notifications import notify, ring_on
from kpf_supervise.instance.desired_state import DesiredState
from kpf_supervise.instance.sharing import Sharing
from kpf_supervise.instance.supervisor import Supervisor
from kpf_supervise.kubectl.orphan_guard import open_orphan_guard
from kpf_supervise.metrics.keeper import MetricsKeeper
from kpf_supervise.model import Cluster
from kpf_supervise.panel.child import run_panel
from kpf_supervise.primitives.boundary import unbroken
from kpf_supervise.primitives.open_files import raise_limit, shortage_told
from kpf_supervise.proxying.proxy import ProxyKeeper
from kpf_supervise.runtime.command import Command, until_ready
from kpf_supervise.runtime.detach import say_up, shutdown_line
from kpf_supervise.runtime.paths import owns_terminal, socket_of
from kpf_supervise.runtime.sandbox_cluster import open_sandbox
from kpf_supervise.runtime.systemd import tell_service_manager
from kpf_supervise.sources.sources import Sources
from kpf_supervise.text import one_line

_STDERR = 2
_SLOW = 1.5  # seconds after which a sign-in that the panel waits for is told
_LAST_LINES = 1.0  # seconds to write the last notices to a slow terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The options of one run."""

    config: Config
    path: Path | None  # the configuration file; its edits are applied
    found: bool = False  # nobody has named the file
    kubectl: str
    log_format: str = "text"
    proxy: tuple[str, int] | None = None  # address and port on which it listens, instead of the file's
    metrics: tuple[str, int] | None = None  # the same for the metrics
    groups: Sequence[str] = ()  # of the file; only their forwards are started. None: all are
    sandbox: bool = False  # the embedded cluster replaces every cluster that the forwards name
    socket: Path | None = None  # the control socket; None: one in the user's runtime folder
    persist: bool = False
    command: Sequence[str] = ()  # starts once all forwards are active; the instance ends with it
    ready_timeout: float = 30.0  # seconds to wait until all forwards are active
    keep_waiting: bool = False  # also for a forward whose failure is final
    panel: bool = False  # show the panel; events are then printed only if stderr is not a terminal
    until_unused: bool = False  # the instance ends once it lists no forward, and nobody asks for one


async def run(job: Job) -> int:
    """Keep the forwards until SIGINT, SIGTERM or SIGHUP, the end of the command, or a `shutdown` call on the control
    socket. Then all ports are free again, and no kubectl runs. Returns the exit code."""
    raise_limit()
    path = job.socket or socket_of(job.path, str(os.getpid()) if job.command or job.path is None else "")
    with ExitStack() as stack:
        control, unreachable = None, ""
        try:
            control = stack.enter_context(control_socket(path, private=job.socket is None))
        except Running as running:
            return _refuse(
                f"an instance is running already: {running}. Control it with kpfctl, end it with: "
                f"{shutdown_line(job.path, path)}, or give this one a socket of its own: --socket PATH"
            )
        except OSError as error:
            if job.socket is not None:
                return _refuse(f"cannot make the control socket: {error}")
            unreachable = f"kpfctl can't control this instance, because it has no control socket: {error}"
        return await _run(job, control, path, unreachable)


def _refuse(why: str) -> int:
    print(f"kpf-supervise: {why}", file=sys.stderr)
    return 1


async def _run(job: Job, control: socket.socket | None, path: Path, unreachable: str) -> int:
    board = Board()
    command = Command(job.command, {"KPF_SOCKET": str(path)} if control else {}) if job.command else None
    ending = _Ending()
    async with trio.open_nursery() as around:  # to the very end: signals, and the client that asked for the shutdown
        await around.start(_end_on_signal, ending, command)

        async with trio.open_nursery() as showing:

            def open_to_others(handlers: Handlers, terminal_free: trio.Event) -> None:
                if control is not None:
                    around.start_soon(serve, control, handlers)
                    if shows:
                        showing.start_soon(_show_panel, path, board, ending, panel, printed, terminal_free)

            panel = trio.CancelScope()
            shows = job.panel and control is not None  # it is a client of the control socket
            printed = not shows or not os.isatty(_STDERR)
            if printed:
                await showing.start(_print, board, job.log_format)
            if unreachable:
                board.notice(unreachable)
            if job.found:
                board.notice(f"the forwards are those of {job.path}: no file was named")
            with ending.scope, shortage_told(board.notice):
                await _keep(job, board, command, ending, open_to_others, path if control else None)
            panel.cancel()
            board.close()
            showing.cancel_scope.deadline = trio.current_time() + _LAST_LINES
        around.cancel_scope.cancel()
    return ending.code or (command.code if command is not None else 0)


async def _show_panel(
    path: Path, board: Board, ending: _Ending, scope: trio.CancelScope, printed: bool, terminal_free: trio.Event
) -> None:
    """Once the terminal is free, show the panel until the user quits, which ends the instance, or until `scope` is
    cancelled. If it ends otherwise, events are printed instead, to the last one, unless they are `printed` already, and
    a notice says why."""
    ended = None
    with scope:
        await terminal_free.wait()
        ended = await run_panel(path)
    if ended is None:
        return
    if ended.quit:
        ending.scope.cancel()
        return
    async with trio.open_nursery() as nursery:
        if not printed:
            await nursery.start(_print, board, "text", not ended.shown)
        board.notice(ended.why, ended.said)


async def _print(
    board: Board,
    format: str,
    kept: bool = False,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run `print_events`. After a bug, print the traceback directly and restart it."""
    status = task_status

    async def once() -> None:
        nonlocal status, kept
        first, status = status, trio.TASK_STATUS_IGNORED
        earlier, kept = kept, False
        await print_events(board, format, _STDERR, earlier, task_status=first)

    def failed(error: BaseException, _: float) -> None:
        traceback.print_exception(error)
        board.bug(error, "printing events")

    await unbroken(once, failed)


class _Ending:
    """Cancel `scope` to end the instance; `code` is then the exit code."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.code = 0


async def _end_on_signal(
    ending: _Ending, command: Command | None, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """On SIGINT, SIGTERM or SIGHUP, end the instance, or pass the signal on to the user's command. Runs until the
    shutdown is complete, so that a second Ctrl-C cannot interrupt it."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            if command is None:
                ending.scope.cancel()
            elif not command.pass_on(number):
                ending.code = 128 + number
                ending.scope.cancel()


async def _keep(
    job: Job,
    board: Board,
    command: Command | None,
    ending: _Ending,
    open_to_others: Callable[[Handlers, trio.Event], None],
    control_path: Path | None,
) -> None:
    async with AsyncExitStack() as stack:
        guard = await stack.enter_async_context(open_orphan_guard())
        cluster = None
        if job.sandbox:
            cluster = Cluster(await stack.enter_async_context(open_sandbox(guard)))
            board.notice(f"the sandbox cluster is up: export KUBECONFIG={cluster.kubeconfig}")
        nursery = await stack.enter_async_context(trio.open_nursery())
        supervisor = Supervisor(job.kubectl, guard, board, job.config.credentials == "share")
        await nursery.start(supervisor.run)
        supervisor.logins.on_terminal = owns_terminal()
        sources = Sources(supervisor.watches, board, supervisor.put)
        desired = DesiredState(
            job.config,
            job.path,
            job.persist,
            cluster,
            supervisor,
            sources,
            board,
            proxy=job.proxy,
            metrics=job.metrics,
            groups=job.groups,
        )
        await desired.begin()
        nursery.start_soon(sources.run)
        proxy = ProxyKeeper(supervisor, board, nursery)
        metrics = MetricsKeeper(supervisor, board, guard, nursery)
        desired.applied += [partial(proxy.follow, desired), partial(metrics.follow, desired)]
        await metrics.follow(desired)
        if not await proxy.follow(desired) and (command is not None or not job.config.lists_anything):
            ending.code = 1  # nobody could do anything with it
            ending.scope.cancel()

        def shut_down() -> None:
            if command is None or not command.end():  # the instance ends when the command has ended
                ending.scope.cancel()

        terminal_free = trio.Event()
        sharing = Sharing(supervisor, board)
        nursery.start_soon(sharing.run, shut_down if job.until_unused else None)
        open_to_others(Handlers(supervisor, board, desired, shut_down, sharing), terminal_free)
        asked = [*sources.clusters, *([desired.proxy.template.cluster] if desired.proxy else [])]
        nursery.start_soon(_use_terminal, supervisor, asked, job.panel, terminal_free)
        say_up(control_path)
        for what, run in (
            ("notifying the service manager", partial(tell_service_manager, board)),
            ("notifications", partial(notify, board, partial(ring_on, _STDERR))),
        ):
            nursery.start_soon(unbroken, run, board.failing(what))
        if command is not None:
            await _run_command(command, board, sources, job, desired.proxy)
            ending.scope.cancel()
        await unbroken(desired.follow, board.failing("watching the file for edits"))


async def _use_terminal(
    supervisor: Supervisor, more: Collection[Cluster], panel: bool, terminal_free: trio.Event
) -> None:
    """Let credential plugins ask on the terminal while the forwards start, and never again. If the panel has to wait
    for one, say so: it may be a browser that asks."""
    if supervisor.logins.on_terminal:
        async with trio.open_nursery() as beside:
            if panel:
                beside.start_soon(_tell_sign_ins, supervisor)
            await supervisor.sign_in_first(more)
            beside.cancel_scope.cancel()
        supervisor.logins.on_terminal = False
    terminal_free.set()


async def _tell_sign_ins(supervisor: Supervisor) -> None:
    await trio.sleep(_SLOW)
    for login in supervisor.logins.of_context(None):
        if login.signing_in:
            print(one_line(f"{login.label}: {login.signing_in}"), file=sys.stderr, flush=True)


async def _run_command(command: Command, board: Board, sources: Sources, job: Job, proxy: Proxy | None) -> None:
    """Run the user's command once all forwards are ready; if they are not in time, report why instead."""
    begun = trio.current_time()
    unknown = await sources.until_known(job.ready_timeout, job.keep_waiting)
    for what, problem in unknown.items():
        board.notice(f"{what} are not known: {problem or 'no answer yet'}")
    if unknown:
        return
    left = max(job.ready_timeout - (trio.current_time() - begun), 0)
    missing = await until_ready(board, left, job.keep_waiting)
    for status in missing:
        if status.hopeless and not job.keep_waiting:
            how = "has failed, and does not come back by itself"
        else:
            how = f"is {status.state} after {job.ready_timeout:g} s"
        board.notice(f"{status.forward.id} {how}: {status.problem or 'no answer yet'}")
    if not missing:
        await command.run(board, proxy)
