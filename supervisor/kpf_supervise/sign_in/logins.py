"""The sign-ins of one instance: one for each user of a kubeconfig."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import trio

from kpf_supervise.kubectl.contexts import Contexts, Resolved
from kpf_supervise.kubectl.kubeconfigs import files_of
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.model import Cause, ForwardError, Problem
from kpf_supervise.primitives.boundary import bare
from kpf_supervise.sign_in.credential import Credential
from kpf_supervise.sign_in.flight import SignIn
from kpf_supervise.sign_in.kuberc import restricted
from kpf_supervise.sign_in.login import Desk, Login
from kpf_supervise.sign_in.plugin import Plugin
from kpf_supervise.sign_in.server import CredentialServer

SocketFolder = Callable[[], AbstractContextManager[Path]]  # a private folder with a short path, removed after the block


class Logins:
    """Hands out Logins; their sign-ins run in `nursery`. `bug` is told of an exception that nobody foresaw."""

    def __init__(
        self,
        contexts: Contexts,
        guard: OrphanGuard,
        nursery: trio.Nursery,
        folder: SocketFolder,
        notice: Callable[[str], None],
        bug: Callable[[BaseException, str], object],
        share: bool = True,
        by_kpfctl: bool = True,
    ) -> None:
        self.on_terminal = False  # plugins that may ask get the terminal
        self._nursery = nursery
        self._folder = folder
        self._notice = notice
        self._bug = bug
        self._share = share
        self._told: set[str] = set()
        self._known: dict[tuple[Path | None, str, str], Login] = {}
        self._sign_ins: dict[tuple[Path | None, str, str, Plugin], SignIn] = {}
        self._locks: defaultdict[tuple[Path | None, str], trio.Lock] = defaultdict(trio.Lock)
        self._terminal = trio.Lock()
        self._starting = trio.Lock()
        self._serves = trio.CancelScope()
        self._desk = Desk(
            contexts=contexts,
            guard=guard,
            notice=notice,
            server=CredentialServer(),
            serving=self._serving,
            sign_in=self._sign_in,
            alone=self._alone,
            terminal=self._at_terminal,
            by_kpfctl=by_kpfctl,
        )

    def of(self, resolved: Resolved) -> Login:
        """The login of a context. Its sign-in begins at once, if it needs one and has none."""
        if resolved.access not in self._known:
            login = Login(resolved.cluster, resolved.access, resolved.entry, self._desk)
            self._known[resolved.access] = login
            self._spawn(login.begin)
        self._known[resolved.access].contexts.add(resolved.cluster.context)
        return self._known[resolved.access]

    def of_context(self, name: str | None) -> list[Login]:
        """Those in use, of one context or all, whose plugin we run: one for each sign-in."""
        wanted = [each for each in self._known.values() if name is None or name in each.contexts]
        return list({each.sign_in: each for each in reversed(wanted) if each.shared}.values())[::-1]

    @property
    def outcomes(self) -> Counter[str]:
        """How many sign-ins have succeeded, and failed."""
        return sum((Counter(each.outcomes) for each in self._sign_ins.values()), Counter())

    def permit(self) -> None:
        """Failed sign-ins may be begun again: the user has changed something, or is there."""
        for login in self._known.values():
            login.permit()

    def _spawn(self, run: Callable[[], Awaitable[None]]) -> None:
        async def once() -> None:
            try:
                await run()
            except* Exception as bugs:
                self._bug(bare(bugs), "signing in")

        self._nursery.start_soon(once)

    def _sign_in(self, login: Login, plugin: Plugin, run: Callable[[], Awaitable[Credential]]) -> SignIn | None:
        """One for each user entry, for all clusters that it is used for, unless the plugin is told which one. None:
        kubectl has to do it."""
        kubeconfig, cluster, user = login.access
        if not self._share or any(os.pathsep in file for file in files_of(login.cluster, os.environ)):
            return None
        kuberc = restricted(os.environ)
        if kuberc is not None:
            if login.label not in self._told:
                self._told.add(login.label)
                self._notice(
                    f"{login.label}: {kuberc} says which credential plugins kubectl may run, so each kubectl runs "
                    f"{plugin.name} itself, one at a time"
                )
            return None
        key = (kubeconfig, cluster if plugin.cluster_info else "", user, plugin)
        if key not in self._sign_ins:
            self._sign_ins[key] = SignIn(run, self._spawn, plugin.asks)
        return self._sign_ins[key]

    def _alone(self, login: Login) -> trio.Lock:
        kubeconfig, _, user = login.access
        return self._locks[(kubeconfig, user)]

    @asynccontextmanager
    async def _at_terminal(self, plugin: Plugin) -> AsyncIterator[bool]:
        """Whether this plugin gets the terminal during the block: one at a time."""
        if not (self.on_terminal and plugin.asks):
            yield False
            return
        async with self._terminal:
            yield self.on_terminal

    async def _serving(self) -> None:
        """Start the server where it does not run, or its socket is gone. Raises ForwardError."""
        server = self._desk.server
        async with self._starting:
            if server.socket.is_socket():
                return
            self._serves.cancel()
            self._serves = trio.CancelScope()
            try:
                await self._nursery.start(self._serve, self._serves)
            except OSError as error:
                step = "Make that folder writable, or set XDG_RUNTIME_DIR to a folder of yours"
                problem = Problem(Cause.OTHER, f"kubectl can't be given its credential: {error}", step)
                raise ForwardError(problem) from error

    async def _serve(
        self, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with scope, self._folder() as folder:
            await self._desk.server.run(folder, self._failed, task_status=task_status)

    def _failed(self, bug: BaseException) -> None:
        self._bug(bare(bug), "the socket for credentials")
