"""The objects of one kind in one namespace, from listings and watch events. Pure: no clocks, no processes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from msgspec import Raw

from kpf_supervise.kubectl.answers import Malformed, decode
from kpf_supervise.model import Cause, ForwardError, Problem
from kpf_supervise.text import redact
from kpf_supervise.watching.api_objects import Failure, Named, WatchEvent


class ApiObject(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...


Item = TypeVar("Item", bound=ApiObject)


@dataclass(frozen=True, slots=True)
class Kind(Generic[Item]):
    """What is watched. `read` makes an item of the API's object, or raises Malformed."""

    name: str  # as in API paths: pods
    read: Callable[[bytes | Raw], Item]
    unfollowed: str  # what it means for the user that they can't be watched
    unlisted: str = ""  # and that they can't be listed either, if that is something else


class Change(NamedTuple, Generic[Item]):
    """The result of one watch event."""

    item: Item | None = None  # the changed object, as it is now or was last
    bookmark: bool = False
    unreadable: str = ""  # why the object can't be read


class ObjectSet(Generic[Item]):
    """The objects by name, with the resource version to continue from."""

    def __init__(self, kind: Kind[Item], items: Iterable[Item] = ()) -> None:
        self.version = ""
        self._kind = kind
        self.replace(items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items.values())

    def derived(self, key: Hashable, compute: Callable[[], Sequence[Item]]) -> Sequence[Item]:
        """What `compute` makes of the objects. It is computed once, until one of them changes: each connection asks."""
        found = self._derived.get(key)
        if found is None:
            found = self._derived[key] = compute()
        return found

    def named(self, name: str) -> Item | None:
        return self._items.get(name)

    def replace(self, items: Iterable[Item], version: str = "") -> None:
        """Replace all objects by those of a listing."""
        self._items = {item.name: item for item in items}
        self._derived: dict[Hashable, Sequence[Item]] = {}
        self.version = version

    def apply(self, line: bytes) -> Change[Item]:
        """Apply one watch event. Raises Expired on a 410, ForwardError on other errors, Malformed if the line is not an
        event. An object that can't be read counts as gone."""
        event = decode(line, WatchEvent)
        if event.type == "ERROR":
            failure = decode(event.object, Failure)
            if failure.code == 410:
                raise Expired
            message = f"the watch of {self._kind.name} failed: {redact(failure.message)}"
            raise ForwardError(Problem(Cause.API_UNREACHABLE, message))
        meta = decode(event.object, Named).metadata
        self.version = meta.resource_version or self.version
        if event.type == "BOOKMARK":
            return Change(bookmark=True)
        self._derived.clear()
        try:
            item = self._kind.read(event.object)
        except Malformed as error:
            return Change(self._items.pop(meta.name, None), unreadable=str(error))
        known = self._items.get(item.name)
        if event.type != "DELETED":
            self._items[item.name] = item
        elif known is not None and known.uid == item.uid:  # else a new one of that name already exists
            del self._items[item.name]
        return Change(item if known != item or event.type == "DELETED" else None)


class Expired(Exception):
    """The resource version to continue from is too old (HTTP 410): the objects must be listed again."""
