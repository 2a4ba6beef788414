"""The watches of all forwards: one per kind, cluster and namespace, started when somebody first asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import trio

from kpf_supervise.api.server import ApiServer
from kpf_supervise.events.board import Board
from kpf_supervise.kubectl.contexts import Contexts, Resolved
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.model import Cause, Cluster, Problem
from kpf_supervise.primitives.boundary import unbroken
from kpf_supervise.sign_in.login import Login
from kpf_supervise.sign_in.logins import Logins, SocketFolder
from kpf_supervise.watching.objects import Item, Kind
from kpf_supervise.watching.outage import Outage
from kpf_supervise.watching.pods import PODS, Pod
from kpf_supervise.watching.questions import Questions
from kpf_supervise.watching.services import SERVICES, Service
from kpf_supervise.watching.watch import Watch


class Watches:
    """Hands out Watches; they run in `nursery`."""

    def __init__(
        self,
        contexts: Contexts,
        guard: OrphanGuard,
        nursery: trio.Nursery,
        board: Board,
        folder: SocketFolder,
        logins: Logins,
    ) -> None:
        self._contexts = contexts
        self._logins = logins
        self._guard = guard
        self._nursery = nursery
        self._board = board
        self._folder = folder
        self._servers: dict[tuple[Path | None, str, str], ApiServer] = {}
        self._outages: dict[Cluster, Outage] = {}
        self._pods: dict[tuple[Cluster, str], Watch[Pod]] = {}
        self._services: dict[tuple[Cluster, str], Watch[Service]] = {}

    @property
    def _all(self) -> Iterator[Watch[Any]]:
        return chain(self._pods.values(), self._services.values())

    def suspect_lines(self) -> None:
        """Connections to the API servers may have died."""
        for server in self._servers.values():
            server.begin_anew(died=True)

    def replace_kubectls(self, why: str) -> None:
        """Have every kubectl replaced: see `Watch.suspect`."""
        for server in self._servers.values():
            server.begin_anew()
        for watch in self._all:
            watch.suspect(why)

    def ask_again(self) -> None:
        """End all pauses: the user has changed something, or wants to try again."""
        self._logins.permit()
        self._end_pauses()

    def _end_pauses(self) -> None:
        for outage in self._outages.values():
            outage.ask_again()
        for watch in self._all:
            watch.ask_again()

    async def pods(self, cluster: Cluster, namespace: str | None) -> Watch[Pod]:
        """Return the watch of a namespace; None is the context's own. Raises ForwardError if the context does not exist
        or kubectl can't be run."""
        return await self._of(PODS, self._pods, cluster, namespace)

    async def services(self, cluster: Cluster, namespace: str | None) -> Watch[Service]:
        """The same for services."""
        return await self._of(SERVICES, self._services, cluster, namespace)

    async def _of(
        self,
        kind: Kind[Item],
        watches: dict[tuple[Cluster, str], Watch[Item]],
        cluster: Cluster,
        namespace: str | None,
    ) -> Watch[Item]:
        if self._contexts.version is None:
            failing = self._board.failing("reading kubectl's version")
            self._nursery.start_soon(unbroken, self._contexts.check_version, failing)
        resolved = await self._contexts.of(cluster)
        key = (resolved.cluster, namespace or resolved.namespace)
        if key not in watches:
            questions = Questions(self._server(resolved), *key)
            watch = watches[key] = Watch(kind, questions, self._board.notice, self.outage(questions))
            self._nursery.start_soon(unbroken, watch.run, partial(self._failed, kind, watch))
        return watches[key]

    async def questions(self, cluster: Cluster, namespace: str | None) -> Questions:
        """For questions that nothing is watched for. Raises ForwardError as `of` does."""
        resolved = await self._contexts.of(cluster)
        return Questions(self._server(resolved), resolved.cluster, namespace or resolved.namespace)

    def _server(self, resolved: Resolved) -> ApiServer:
        if resolved.access not in self._servers:
            login = self._logins.of(resolved)
            login.listeners.add(partial(self._signed_in, login))
            server = ApiServer(
                self._contexts.binary, resolved.cluster, self._guard, self._folder, self._board.notice, login
            )
            self._servers[resolved.access] = server
            self._nursery.start_soon(unbroken, server.run, self._board.failing("the kubectls that read"))
        return self._servers[resolved.access]

    def _signed_in(self, login: Login) -> None:
        """A sign-in has begun or ended: what waits for its credential need not wait longer."""
        if not login.signing_in and login.problem is None:
            self._end_pauses()

    def outage(self, questions: Questions) -> Outage:
        """Of the cluster that is asked: whoever waits for its end shares one probe with all others."""
        cluster = questions.cluster
        if cluster not in self._outages:
            label = cluster.context or "the cluster"
            probe = partial(
                questions.api.read, "/version"
            )  # every user may read it: ClusterRole system:public-info-viewer
            self._outages[cluster] = Outage(label, probe, self._board.notice)
        return self._outages[cluster]

    def _failed(self, kind: Kind[Item], watch: Watch[Item], error: BaseException, pause: float) -> None:
        sentence = self._board.bug(error, f"the watch of {kind.name} in namespace {watch.namespace}")
        watch.failed(Problem(Cause.INTERNAL, sentence, f"It is started again in {pause:.0f} s"))
