"""Asking clusters something, and ending: what a running instance has for that, without any forward."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import trio

from kpf_supervise.api.process import ASKING_RIGHTS
from kpf_supervise.api.server import ApiServer
from kpf_supervise.events.board import Board
from kpf_supervise.events.log import print_events
from kpf_supervise.kubectl.contexts import Contexts
from kpf_supervise.kubectl.orphan_guard import OrphanGuard, open_orphan_guard
from kpf_supervise.model import Cluster
from kpf_supervise.primitives.boundary import unbroken
from kpf_supervise.primitives.signal import Signal
from kpf_supervise.runtime.paths import owns_terminal
from kpf_supervise.runtime.sandbox_cluster import open_sandbox
from kpf_supervise.runtime.socket_folder import socket_folder
from kpf_supervise.sign_in.login import Login
from kpf_supervise.sign_in.logins import Logins
from kpf_supervise.watching.questions import Questions
from kpf_supervise.watching.watches import Watches

_STDERR = 2
_SLOW = 1.5  # seconds after which a sign-in that is waited for is told
_LAST_LINES = 1.0  # seconds to write the last notices to a slow terminal


@dataclass(slots=True, kw_only=True)
class Session:
    contexts: Contexts
    watches: Watches
    board: Board
    guard: OrphanGuard
    nursery: trio.Nursery
    sandbox: Cluster | None  # replaces every cluster
    on_terminal: bool  # a plugin may ask there
    _rights: dict[ApiServer, ApiServer] = field(default_factory=dict)
    _logins: set[Login] = field(default_factory=set)

    async def questions(self, cluster: Cluster, namespace: str | None) -> Questions:
        """Raises ForwardError if the context does not exist or kubectl can't be run."""
        questions = await self.watches.questions(self.sandbox or cluster, namespace)
        if questions.api.login not in self._logins:
            self._logins.add(questions.api.login)
            self.nursery.start_soon(self._tell_sign_in, questions.api.login)
        return questions

    async def _tell_sign_in(self, login: Login) -> None:
        """A plugin that has the terminal tells it itself."""
        changed = Signal()
        login.listeners.add(changed.tell)
        await changed.until(lambda: bool(login.signing_in))
        await trio.sleep(_SLOW)
        if login.signing_in and login.plugin is not None and not (self.on_terminal and login.plugin.asks):
            self.board.notice(f"{login.label}: {login.signing_in}")

    def rights(self, questions: Questions) -> ApiServer:
        """The same API server and user, for questions about rights."""
        api = questions.api
        if api not in self._rights:
            self._rights[api] = ApiServer(
                self.contexts.binary,
                questions.cluster,
                self.guard,
                socket_folder,
                self.board.notice,
                api.login,
                ASKING_RIGHTS,
            )
            self.nursery.start_soon(unbroken, self._rights[api].run, self.board.failing("the kubectl that asks rights"))
        return self._rights[api]


def ask(binary: str, share: bool, sandbox: bool, what: Callable[[Session], Awaitable[int]]) -> int:
    """Run `what` to its end. Returns its result, or the exit code of a signal; then no kubectl runs any more. Notices,
    such as what a credential plugin says, are printed on stderr."""
    return trio.run(_ask, binary, share, sandbox, what)


async def _ask(binary: str, share: bool, sandbox: bool, what: Callable[[Session], Awaitable[int]]) -> int:
    board = Board()
    code, came = 0, list[int]()
    scope = trio.CancelScope()
    async with trio.open_nursery() as around:
        await around.start(_end_on_signal, scope, came)
        async with trio.open_nursery() as showing:
            await showing.start(print_events, board, "text", _STDERR)
            with scope:
                async with _opened(binary, share, sandbox, board) as session:
                    code = await what(session)
            board.close()
            showing.cancel_scope.deadline = trio.current_time() + _LAST_LINES
        around.cancel_scope.cancel()
    return 128 + came[0] if came else code


async def _end_on_signal(
    scope: trio.CancelScope, came: list[int], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            came.append(number)
            scope.cancel()


@asynccontextmanager
async def _opened(binary: str, share: bool, sandbox: bool, board: Board) -> AsyncIterator[Session]:
    async with AsyncExitStack() as stack:
        guard = await stack.enter_async_context(open_orphan_guard())
        cluster = Cluster(await stack.enter_async_context(open_sandbox(guard))) if sandbox else None
        nursery = await stack.enter_async_context(trio.open_nursery())
        contexts = Contexts(binary, guard, board.notice)
        logins = Logins(contexts, guard, nursery, socket_folder, board.notice, board.bug, share, by_kpfctl=False)
        logins.on_terminal = owns_terminal()
        watches = Watches(contexts, guard, nursery, board, socket_folder, logins)
        yield Session(
            contexts=contexts,
            watches=watches,
            board=board,
            guard=guard,
            nursery=nursery,
            sandbox=cluster,
            on_terminal=logins.on_terminal,
        )
        nursery.cancel_scope.cancel()
