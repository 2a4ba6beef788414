"""The watches of all forwards: one per (cluster, namespace), started when a forward first asks for it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import trio

from kpf_supervise.api.process import SocketFolder
from kpf_supervise.api.server import ApiServer
from kpf_supervise.discovery.outage import Outage
from kpf_supervise.discovery.questions import Questions
from kpf_supervise.discovery.watch import DIED, Watch
from kpf_supervise.events.board import Board
from kpf_supervise.kubectl.contexts import Contexts, Resolved
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.model import Cause, Cluster, Problem
from kpf_supervise.primitives.boundary import unbroken


class Watches:
    """Hands out Watches; they run in `nursery`."""

    def __init__(
        self, contexts: Contexts, guard: OrphanGuard, nursery: trio.Nursery, board: Board, folder: SocketFolder
    ) -> None:
        self._contexts = contexts
        self._guard = guard
        self._nursery = nursery
        self._board = board
        self._folder = folder
        self._servers: dict[tuple[Path | None, str, str], ApiServer] = {}
        self._outages: dict[Cluster, Outage] = {}
        self._watches: dict[tuple[Cluster, str], Watch] = {}

    def suspect(self, why: str = DIED) -> None:
        """Have every kubectl replaced: see `Watch.suspect`."""
        for server in self._servers.values():
            server.begin_anew()
        for watch in self._watches.values():
            watch.suspect(why)

    def ask_again(self) -> None:
        """End all pauses: the user has changed something, or wants to try again."""
        for outage in self._outages.values():
            outage.ask_again()
        for watch in self._watches.values():
            watch.ask_again()

    async def of(self, cluster: Cluster, namespace: str | None) -> Watch:
        """Return the watch of a namespace; None is the context's own. Raises ForwardError if the context does not exist
        or kubectl can't be run."""
        if self._contexts.version is None:
            failing = self._board.failing("reading kubectl's version")
            self._nursery.start_soon(unbroken, self._contexts.check_version, failing)
        resolved = await self._contexts.of(cluster)
        key = (resolved.cluster, namespace or resolved.namespace)
        if key not in self._watches:
            questions = Questions(self._server(resolved), *key)
            watch = self._watches[key] = Watch(questions, self._board.notice, self._outage(questions))
            self._nursery.start_soon(unbroken, watch.run, partial(self._failed, watch))
        return self._watches[key]

    async def reader(self, cluster: Cluster) -> tuple[ApiServer, str]:
        """What reads from the API server of a cluster, and the namespace of its context. Raises ForwardError."""
        resolved = await self._contexts.of(cluster)
        return self._server(resolved), resolved.namespace

    def _server(self, resolved: Resolved) -> ApiServer:
        if resolved.access not in self._servers:
            server = ApiServer(self._contexts.binary, resolved.cluster, self._guard, self._folder, self._board.notice)
            self._servers[resolved.access] = server
            self._nursery.start_soon(unbroken, server.run, self._board.failing("the kubectls that read"))
        return self._servers[resolved.access]

    def _outage(self, questions: Questions) -> Outage:
        cluster = questions.cluster
        if cluster not in self._outages:
            label = cluster.context or "the cluster"
            probe = partial(
                questions.api.read, "/version"
            )  # every user may read it: ClusterRole system:public-info-viewer
            self._outages[cluster] = Outage(label, probe, self._board.notice)
        return self._outages[cluster]

    def _failed(self, watch: Watch, error: BaseException, pause: float) -> None:
        sentence = self._board.bug(error, f"the watch of pods in namespace {watch.namespace}")
        watch.failed(Problem(Cause.INTERNAL, sentence, f"It is started again in {pause:.0f} s"))
