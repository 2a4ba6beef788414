"""How the kubectls of one user of a kubeconfig get their credential: ours to share, or kubectl's own affair."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from kpf_supervise.kubectl.command_line import command
from kpf_supervise.kubectl.contexts import Contexts, marks_of
from kpf_supervise.kubectl.kubeconfigs import files_of
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.model import Cause, Cluster, ForwardError, Problem
from kpf_supervise.primitives.priority_limiter import PriorityLimiter
from kpf_supervise.sign_in.credential import Credential
from kpf_supervise.sign_in.flight import SignIn
from kpf_supervise.sign_in.kubectl import Kubectl
from kpf_supervise.sign_in.limit import Limit, Limits
from kpf_supervise.sign_in.plugin import Plugin, PluginFailed, in_front, plugin_of
from kpf_supervise.sign_in.run import run_plugin
from kpf_supervise.sign_in.server import CredentialServer
from kpf_supervise.sign_in.share import Share
from kpf_supervise.sign_in.words import Words


@dataclass(slots=True, kw_only=True)
class Desk:
    """What the sign-ins of an instance share."""

    contexts: Contexts
    guard: OrphanGuard
    notice: Callable[[str], None]
    server: CredentialServer
    serving: Callable[[], Awaitable[None]]  # starts the server where it does not run; raises ForwardError
    sign_in: Callable[[Login, Plugin, Callable[[], Awaitable[Credential]]], SignIn | None]  # None: kubectl does it
    alone: Callable[[Login], trio.Lock]  # a user signs in to one cluster at a time
    terminal: Callable[[Plugin], AbstractAsyncContextManager[bool]]  # whether it gets the terminal
    by_kpfctl: bool = True  # an instance runs, so that kpfctl can sign in


class Login:
    """`listeners` are called when a sign-in begins or ends."""

    def __init__(
        self,
        cluster: Cluster,
        access: tuple[Path | None, str, str] = (None, "", ""),
        entry: Mapping[str, Any] | None = None,
        desk: Desk | None = None,
    ) -> None:
        self.cluster = cluster
        self.contexts = {cluster.context}
        self.access = access  # kubeconfig, cluster entry and user entry
        self.turn = PriorityLimiter(1)  # where kubectl itself signs in: one at a time
        self.listeners: set[Callable[[], None]] = set()
        self._desk = desk
        self._limits = Limits()
        self._marks = marks_of(cluster, os.environ)
        self._entry: Mapping[str, Any] = {}
        self._plugin: Plugin | None = None
        self._share: Share | None = None  # where the credential is shared
        self._reading = trio.Lock()
        self._use(entry or {})

    # --- what is known

    @property
    def label(self) -> str:
        return self.cluster.context or "the cluster"

    @property
    def shared(self) -> bool:
        return self._share is not None

    @property
    def by_kubectl(self) -> bool:
        """Whether each kubectl itself runs a program for its credentials, which may open a window."""
        return not self.shared and bool(self._entry.get("exec") or self._entry.get("auth-provider"))

    @property
    def sign_in(self) -> SignIn | None:
        """Where the credential is shared."""
        return self._share.sign_in if self._share is not None else None

    @property
    def plugin(self) -> Plugin | None:
        """The plugin whose credential is shared."""
        return self._plugin if self.shared else None

    @property
    def signing_in(self) -> str:
        """That a sign-in runs, for people: with what, and since when; "" if none does, or nobody waits."""
        if self.plugin is None or self.sign_in is None or self.sign_in.since is None or self.sign_in.generation:
            return ""
        return (
            f"signing in with {self.plugin.name} since {time.strftime('%H:%M:%S', time.localtime(self.sign_in.since))}"
        )

    @property
    def begun(self) -> float | None:
        """When that sign-in began, in trio's time."""
        return self.sign_in.begun if self.sign_in is not None and self.signing_in else None

    @property
    def problem(self) -> Problem | None:
        """Why there is no credential, and what to do."""
        return self._share.problem if self._share is not None else None

    @property
    def wants_terminal(self) -> bool:
        """Whether its user can only be asked on a terminal."""
        plugin, sign_in = self.plugin, self.sign_in
        return plugin is not None and sign_in is not None and (plugin.mode == "Always" or sign_in.wants_terminal)

    # --- for those who start kubectls

    async def prepare(self) -> None:
        """Read the kubeconfig again if it has changed, and begin the sign-in if one is needed. Raises ForwardError."""
        async with self._reading:
            marks = marks_of(self.cluster, os.environ)
            if marks != self._marks and self._desk is not None:
                found = await self._desk.contexts.read(self.cluster)
                self._marks = marks
                self.permit()
                if found.entry != self._entry:
                    self.access = found.access
                    self._use(found.entry)
            if self._share is not None and self._desk is not None:
                await self._desk.serving()
        if self._share is not None and not self._share.sign_in.generation and self._share.problem is None:
            self._share.sign_in.begin()

    async def begin(self) -> None:
        """As `prepare`. An error is not reported here: whoever needs the credential is told."""
        with suppress(ForwardError):
            await self.prepare()

    async def ready(self) -> None:
        """Wait until there is a credential for kubectl, as long as a sign-in takes. Raises ForwardError."""
        await self.prepare()
        if self._share is not None:
            await self._share.get()

    @contextmanager
    def kubectl(self, cluster: Cluster) -> Iterator[Kubectl]:
        """Around the life of a kubectl for a context of this user. Call `prepare` before. Raises ForwardError if it
        can't be told our plugin."""
        if self._share is None or self._desk is None:
            yield Kubectl(cluster, signs_in=self.by_kubectl)
            return
        server = self._desk.server
        front = self._written(server)
        files = os.pathsep.join([str(front), *files_of(cluster, os.environ)])
        with server.client(self._share) as (client, name):
            environment = {**name, "KUBECONFIG": files}
            yield Kubectl(replace(cluster, kubeconfig=None), environment, client)

    def _written(self, server: CredentialServer) -> Path:
        front = server.socket.with_name(f"kubeconfig-{id(self):x}")
        text = in_front(self.access[2], self._entry, server.command())
        try:
            if not front.exists() or front.read_text() != text:
                new = front.with_suffix(".new")
                new.touch(mode=0o600)
                new.write_text(text)
                new.replace(front)
        except OSError as error:
            raise ForwardError(Problem(Cause.OTHER, f"kubectl can't be given its credential: {error}")) from error
        return front

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Where kubectl itself signs in, no other kubectl of this user does so meanwhile."""
        if not self.by_kubectl:
            yield
            return
        await self.turn.take(lambda: 0)
        try:
            yield
        finally:
            self.turn.release()

    def limit(self, seconds: float) -> AbstractContextManager[Limit]:
        """The block is cancelled after so many seconds in which nobody signs in."""
        return self._limits.limit(seconds)

    # --- for those who want a sign-in

    def permit(self) -> None:
        """A failed sign-in may be begun again: something has changed, or somebody is there."""
        if self._share is not None:
            self._share.permit()

    def call(self) -> None:
        """A new client waits for it."""
        if self._share is not None:
            self._share.call()

    async def again(self) -> None:
        """Sign in anew. Raises ForwardError."""
        await self.prepare()
        self.permit()
        if self.sign_in is not None:
            await self.sign_in.again()

    def take(self, credential: Credential) -> None:
        """Somebody has signed in elsewhere."""
        self.permit()
        if self.sign_in is not None:
            self.sign_in.take(credential)

    async def facts(self) -> tuple[list[str], dict[str, str], str]:
        """How the plugin is run on somebody's own terminal: command, its variables, KUBERNETES_EXEC_INFO. Raises
        ForwardError."""
        assert self._plugin is not None
        folder, cluster = await self._where(self._plugin)
        return self._plugin.line(folder), dict(self._plugin.env), self._plugin.info(cluster, terminal=True)

    # --- the sign-in itself

    def _use(self, entry: Mapping[str, Any]) -> None:
        """What the kubeconfig says about the user now."""
        if self._share is not None:
            self._share.sign_in.listeners.discard(self._changed)
        self._entry, self._plugin, self._share = entry, plugin_of(entry), None
        plugin, desk = self._plugin, self._desk
        if desk is not None and plugin is not None:
            sign_in = desk.sign_in(self, plugin, partial(self._run, plugin))
            if sign_in is not None:
                sign_in.listeners.add(self._changed)
                self._share = Share(sign_in, self._useless)

    def _changed(self) -> None:
        self._limits.hold(bool(self.signing_in))
        for listener in list(self.listeners):
            listener()

    def _useless(self) -> Problem:
        name = self._plugin.name if self._plugin is not None else ""
        message = f"the API server refuses what the kubeconfig's credential plugin {name} gives"
        return Problem(Cause.CREDENTIALS, message, self._step())

    def _step(self) -> str:
        if self._desk is not None and not self._desk.by_kpfctl:
            return f"Sign in with: {shlex.join(command('kubectl', self.cluster))} get pods"
        return f"Sign in with: kpfctl login {self.cluster.context or ''}".rstrip()

    async def _run(self, plugin: Plugin) -> Credential:
        desk = self._desk
        assert desk is not None
        folder, cluster = await self._where(plugin)
        words = Words(lambda line: desk.notice(f"{self.label}: {plugin.name} says: {line}"))
        failure: ForwardError | None = None
        async with desk.alone(self), desk.terminal(plugin) as terminal, trio.open_nursery() as beside:
            beside.start_soon(words.tell_later)
            try:
                credential = await run_plugin(plugin, folder, cluster, desk.guard, words.hear, terminal)
            except PluginFailed as failed:
                step = failed.problem.next_step or self._step()
                failure = PluginFailed(failed.problem.message, step, failed.wants_terminal)
            except ForwardError as trouble:
                failure = trouble
            beside.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return credential

    async def _where(self, plugin: Plugin) -> tuple[Path | None, Mapping[str, Any] | None]:
        """The folder of the file that names the plugin, and the cluster's entry, where they are needed."""
        assert self._desk is not None
        contexts = self._desk.contexts
        folder = await contexts.folder_of(self.cluster, self.access[2]) if plugin.relative else None
        return folder, await contexts.raw_cluster(self.cluster) if plugin.cluster_info else None
