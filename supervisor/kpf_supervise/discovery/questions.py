"""GET requests to one API server, each by a kubectl of its own. Concurrent requests for the same object share one."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TypeVar
from urllib.parse import quote

import trio

from kpf_supervise.discovery.api_objects import Named, ObjectList
from kpf_supervise.discovery.pods import Pod, read_pod
from kpf_supervise.kubectl.answers import Malformed, decode
from kpf_supervise.kubectl.command_line import command, to_go_on
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.kubectl.process import output, running
from kpf_supervise.model import Cause, Cluster, ForwardError, Problem
from kpf_supervise.primitives.single_flight import SingleFlight
from kpf_supervise.text import redact

_PAGE = 500  # objects per page of a listing, as in client-go: a slow line gets them in pieces
_AT_A_TIME = 100  # pods of a listing that are read before other tasks run: about a millisecond
_MANY = 4  # from this many concurrent requests for one kind on, listing all its objects is faster

_Wanted = TypeVar("_Wanted")


def no_answer(path: str, error: Malformed) -> Problem:
    return Problem(
        Cause.API_UNREACHABLE,
        f"what answered {path.partition('?')[0]} is no API server, or one that kpf-supervise does not understand "
        f"({redact(str(error))})",
        "Is there a gateway or a login page in between? Open any page in a browser, and log in. Otherwise check with: "
        f"kubectl get --raw {path.partition('?')[0]}",
    )


class Questions:
    """Requests about one namespace of one cluster."""

    def __init__(self, binary: str, cluster: Cluster, namespace: str, guard: OrphanGuard) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.pods_path = f"/api/v1/namespaces/{namespace}/pods"
        self.problem: Problem | None = None  # why nothing is answered now, if that is known; set by the watch
        self._binary = binary
        self._guard = guard
        self._questions: SingleFlight[str, bytes] = SingleFlight()  # by path
        self._listings: SingleFlight[str, dict[str, bytes]] = SingleFlight()
        self._turns = trio.CapacityLimiter(2 * (os.cpu_count() or 1))

    async def list_pods(self) -> tuple[str, list[Pod], str]:
        """Return the resource version to continue from, the pods, and why a pod can't be read. Raises ForwardError."""
        pods: list[Pod] = []
        unreadable, page = "", f"?limit={_PAGE}"
        while True:
            try:
                listing = await self._ask_for(f"{self.pods_path}{page}", ObjectList)
            except ForwardError:
                if "continue=" not in page:
                    raise
                pods, page = [], ""  # 410, the pages took too long: list without pages, as client-go does
                continue
            for number, item in enumerate(listing.items or (), 1):
                try:
                    pods.append(read_pod(item))
                except Malformed as error:
                    unreadable = str(error)
                if number % _AT_A_TIME == 0:
                    await trio.lowlevel.checkpoint()
            if not page or not listing.metadata.next:
                return listing.metadata.resource_version, pods, unreadable
            page = f"?limit={_PAGE}&continue={quote(listing.metadata.next, safe='')}"

    async def ask(self, path: str) -> bytes:
        """Return the object at an API path, as JSON. A hundred forwards of one Service share one request. A hundred
        Services share one listing, if that is allowed. Raises ForwardError."""
        return await self._questions.ask(path, partial(self._object, path))

    async def _object(self, path: str) -> bytes:
        kind, _, name = path.rpartition("/")
        await trio.lowlevel.checkpoint()  # tasks that started at the same time have asked after this
        wanted = sum(each.rpartition("/")[0] == kind for each in self._questions)
        if wanted >= _MANY and kind != self.pods_path:  # a pod is requested only if no listing has it
            listing = await self._listings.ask(kind, partial(self._by_name, kind))
            if name in listing:
                return listing[name]
        async with self._turns:
            if self.problem is not None:  # found while we waited for the limiter
                raise ForwardError(self.problem)
            return await self.read(path)

    async def _by_name(self, kind: str) -> dict[str, bytes]:
        """All objects of a kind; none if listing is forbidden. Raises ForwardError."""
        try:
            listing = await self._ask_for(kind, ObjectList)
        except ForwardError as trouble:
            if trouble.problem.cause is not Cause.FORBIDDEN:
                raise
            return {}
        found = {}
        for item in listing.items or ():
            try:
                found[decode(item, Named).metadata.name] = bytes(item)
            except Malformed:  # it is then requested on its own
                continue
        return found

    async def _ask_for(self, path: str, wanted: type[_Wanted]) -> _Wanted:
        try:
            return decode(await self.read(path), wanted)
        except Malformed as error:
            raise ForwardError(no_answer(path, error)) from None

    async def read(self, path: str) -> bytes:
        """Return the API server's response to a GET of `path`. Raises ForwardError."""
        return await output(self._command(path), self._guard, self.cluster)

    def stream(self, path: str) -> AbstractAsyncContextManager[trio.Process]:
        """Around the block, run a kubectl that writes the API server's response to a GET of `path` to its stdout as it
        arrives. Raises ForwardError."""
        return running(self._command(path), self._guard, to_go_on(os.environ))

    def _command(self, path: str) -> list[str]:
        return command(self._binary, self.cluster, "get", "--raw", path)
