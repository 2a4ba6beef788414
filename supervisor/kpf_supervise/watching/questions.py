"""GET requests about one namespace of one API server. Concurrent requests for the same object share one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar
from urllib.parse import quote

import trio
from msgspec import Raw

from kpf_supervise.api.errors import no_answer
from kpf_supervise.api.server import ApiServer
from kpf_supervise.kubectl.answers import Malformed, decode
from kpf_supervise.model import Cause, Cluster, ForwardError
from kpf_supervise.primitives.single_flight import SingleFlight
from kpf_supervise.watching.api_objects import ObjectList

_PAGE = 500  # objects per page of a listing, as in client-go: a slow line gets them in pieces
_AT_A_TIME = 100  # objects of a listing that are read before other tasks run: about a millisecond

_Wanted = TypeVar("_Wanted")
_Item = TypeVar("_Item")


class Questions:
    """Requests about one namespace of one cluster."""

    def __init__(self, api: ApiServer, cluster: Cluster, namespace: str) -> None:
        self.api = api
        self.cluster = cluster
        self.namespace = namespace
        self.pods_path = self.path_of_all("pods")
        self._questions: SingleFlight[str, bytes] = SingleFlight()  # by path

    async def list_all(self, all: str, read: Callable[[Raw], _Item]) -> tuple[str, list[_Item], str]:
        """Return the resource version to continue from, the objects at the API path `all`, and why one can't be read.
        Raises ForwardError."""
        items: list[_Item] = []
        unreadable, page = "", f"?limit={_PAGE}"
        while True:
            try:
                listing = await self._ask_for(f"{all}{page}", ObjectList)
            except ForwardError:
                if "continue=" not in page:
                    raise
                items, page = [], ""  # 410, the pages took too long: list without pages, as client-go does
                continue
            for number, item in enumerate(listing.items or (), 1):
                try:
                    items.append(read(item))
                except Malformed as error:
                    unreadable = str(error)
                if number % _AT_A_TIME == 0:
                    await trio.lowlevel.checkpoint()
            if not page or not listing.metadata.next:
                return listing.metadata.resource_version, items, unreadable
            page = f"?limit={_PAGE}&continue={quote(listing.metadata.next, safe='')}"

    def path_of_all(self, kinds: str) -> str:
        """The API path of all objects of a kind of target (plural) in the namespace."""
        api = "api/v1" if kinds in ("pods", "services") else "apis/apps/v1"
        return f"/{api}/namespaces/{self.namespace}/{kinds}"

    def by_labels(self, selector: str) -> str:
        """Further query of a listing; empty for all objects."""
        return f"&labelSelector={quote(selector, safe='')}" if selector else ""

    async def ask(self, path: str) -> bytes:
        """Return the object at an API path, as JSON. A hundred forwards of one Service share one request. Raises
        ForwardError."""
        return await self._questions.ask(path, partial(self.api.read, path))

    async def find(self, path: str) -> bytes:
        """`ask` for an object of this namespace. Raises ForwardError, which may be about a missing namespace."""
        try:
            return await self.ask(path)
        except ForwardError as trouble:
            problem = trouble.problem
        if problem.cause is Cause.NO_SUCH_OBJECT:
            await self.check_namespace()
        message = problem.message.replace("in the namespace", f"in namespace {self.namespace}")
        raise ForwardError(replace(problem, message=message))

    async def check_namespace(self) -> None:
        """Raises ForwardError if the namespace does not exist, as far as the user may know that: a listing of one that
        does not is empty."""
        try:
            await self.ask(f"/api/v1/namespaces/{self.namespace}")
        except ForwardError as trouble:
            if trouble.problem.cause is Cause.NO_SUCH_NAMESPACE:
                raise

    async def _ask_for(self, path: str, wanted: type[_Wanted]) -> _Wanted:
        try:
            return decode(await self.api.read(path), wanted)
        except Malformed as error:
            raise ForwardError(no_answer(path, error)) from None
