"""The cluster's objects and the log of their changes, like etcd and the watch cache of a real cluster.

Every change takes the next resourceVersion, so the log needs no search: the change after version v has a known index.
A watcher keeps only a version. It asks for later changes and waits for more. Objects are never changed in place.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import trio

Object = dict[str, Any]  # a Kubernetes object as JSON
Key = tuple[str, str, str]  # resource ("pods"), namespace ("" if it has none), name

FIRST_VERSION = 1000
LOG_SIZE = 10_000  # changes kept; older versions get 410, as after a compaction


class NotFound(Exception):
    """No such object. `args` are resource, namespace and name."""


class Conflict(Exception):
    """An object of that name already exists. `args` are resource, namespace and name."""


class Expired(Exception):
    """The version is older than the log (HTTP 410, reason Expired)."""

    def __init__(self, version: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {version} ({oldest})")


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the log. `previous` is the object before the change (None if it is new)."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    version: int
    key: Key
    object: Object
    previous: Object | None


class Store:
    """All objects, the newest version and the log. Synchronous except for `wait_past`."""

    def __init__(self) -> None:
        self.version = FIRST_VERSION
        self.oldest = FIRST_VERSION  # the oldest version from which a watch can resume
        self._objects: dict[Key, Object] = {}
        self._log: list[Change] = []
        self._changed = trio.Event()

    def get(self, resource: str, namespace: str, name: str) -> Object:
        """Raises NotFound."""
        try:
            return self._objects[resource, namespace, name]
        except KeyError:
            raise NotFound(resource, namespace, name) from None

    def find(self, resource: str, namespace: str, name: str) -> Object | None:
        return self._objects.get((resource, namespace, name))

    def select(
        self, resource: str, namespace: str = "", match: Callable[[Object], bool] = lambda _: True
    ) -> list[Object]:
        """Objects by namespace ("": all) and predicate, sorted by name as in etcd."""
        return [
            object
            for key, object in sorted(self._objects.items())
            if key[0] == resource and namespace in ("", key[1]) and match(object)
        ]

    def add(self, resource: str, object: Object) -> Object:
        """Raises Conflict."""
        object = copy.deepcopy(object)
        key = (resource, object["metadata"].get("namespace", ""), object["metadata"]["name"])
        if key in self._objects:
            raise Conflict(*key)
        return self._record("ADDED", key, object, None)

    def update(self, resource: str, namespace: str, name: str, change: Callable[[Object], None]) -> Object:
        """Apply `change` to a copy and store it, unless nothing changed. Raises NotFound."""
        previous = self.get(resource, namespace, name)
        object = copy.deepcopy(previous)
        change(object)
        if object == previous:
            return previous
        return self._record("MODIFIED", (resource, namespace, name), object, previous)

    def remove(self, resource: str, namespace: str, name: str) -> Object:
        """Raises NotFound."""
        previous = self.get(resource, namespace, name)
        return self._record("DELETED", (resource, namespace, name), copy.deepcopy(previous), previous)

    def _record(
        self, type: Literal["ADDED", "MODIFIED", "DELETED"], key: Key, object: Object, previous: Object | None
    ) -> Object:
        self.version += 1
        object["metadata"]["resourceVersion"] = str(self.version)
        if type == "DELETED":
            del self._objects[key]
        else:
            self._objects[key] = object
        self._log.append(Change(type, self.version, key, object, previous))
        if len(self._log) > LOG_SIZE:
            self._forget(LOG_SIZE // 2)
        self._changed.set()
        self._changed = trio.Event()
        return object

    def since(self, version: int) -> list[Change]:
        """All changes after `version`, oldest first. Raises Expired."""
        if version < self.oldest:
            raise Expired(version, self.oldest)
        return self._log[version - self.oldest :]

    def touched(self, version: int, match: Callable[[Change], bool]) -> bool:
        """Whether a change after `version` matches. Changes already dropped from the log count as matching."""
        return version < self.oldest or any(map(match, self.since(version)))

    def compact(self) -> None:
        """Drop the whole log and advance by one version, so that every version seen so far is too old."""
        self._forget(len(self._log))
        self.version += 1
        self.oldest = self.version

    def _forget(self, count: int) -> None:
        del self._log[:count]
        self.oldest += count

    async def wait_past(self, version: int) -> None:
        """Return as soon as there are changes after `version`."""
        while self.version <= version:
            await self._changed.wait()
