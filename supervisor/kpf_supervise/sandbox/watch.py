"""The event stream of one watch request."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Literal

import trio

from kpf_supervise.sandbox.http import BrokenOff
from kpf_supervise.sandbox.objects import status_error
from kpf_supervise.sandbox.resources import Resource
from kpf_supervise.sandbox.selectors import Predicate
from kpf_supervise.sandbox.store import Change, Expired, Object, Store

End = Literal["clean", "abrupt", "expired"]


def event(type: str, object: Object) -> bytes:
    """One event line, as the API server writes it."""
    return json.dumps({"type": type, "object": object}, separators=(",", ":")).encode() + b"\n"


def seen_as(change: Change, wanted: Predicate) -> tuple[str, Object] | None:
    """The event for a watcher with a selector. An object that starts to match is ADDED, one that stops is DELETED."""
    fitted = change.previous is not None and wanted(change.previous)
    fits = change.type != "DELETED" and wanted(change.object)
    if fits:
        return ("MODIFIED" if fitted else "ADDED"), change.object
    if not fitted or change.previous is None:
        return None
    if change.type == "DELETED":
        return "DELETED", change.object
    version = change.object["metadata"]["resourceVersion"]
    return "DELETED", {**change.previous, "metadata": {**change.previous["metadata"], "resourceVersion": version}}


class Watch:
    """One watch of one resource. Iterate over `lines`. `end` ends it from outside."""

    def __init__(self, store: Store, resource: Resource, namespace: str, wanted: Predicate) -> None:
        self._store = store
        self._resource = resource
        self._namespace = namespace
        self._wanted = wanted
        self._end: End | None = None
        self._foreign: list[bytes] = []  # extra lines to send, unrelated to any change
        self._wait = trio.CancelScope()

    def end(self, how: End) -> None:
        """End the watch: like a timeout, by breaking the connection, or with an ERROR event 410."""
        self._end = how
        self._wait.cancel()

    def tell(self, line: str) -> None:
        """Send a line unchanged, whether it is an event or not."""
        self._foreign.append(line.encode() + b"\n")
        self._wait.cancel()

    async def lines(
        self, version: int | None, timeout: float, bookmark_every: float | None, mark_initial: bool = False
    ) -> AsyncGenerator[bytes]:
        """Events after `version`. With None, first an ADDED for each existing object. Times are in seconds.

        Ends silently after `timeout`, or with an ERROR event if the version is too old. Raises BrokenOff.
        """
        store, name = self._store, self._resource.name
        if version is None:
            version = store.version
            for object in store.select(name, self._namespace, self._wanted):
                yield event("ADDED", object)
            if mark_initial:
                yield self._bookmark(version, {"k8s.io/initial-events-end": "true"})
        until = trio.current_time() + timeout
        bookmark_at = trio.current_time() + (bookmark_every or float("inf"))
        while self._end is None:
            try:
                changes = store.since(version)
            except Expired as error:
                yield event("ERROR", status_error(410, "Expired", str(error)))
                return
            for change in changes:
                seen = seen_as(change, self._wanted) if self._concerns(change) else None
                if seen:
                    yield event(*seen)
                version = change.version
            while self._foreign:
                yield self._foreign.pop(0)
            self._wait = trio.CancelScope(deadline=min(until, bookmark_at))
            if self._end is None:
                with self._wait:
                    await store.wait_past(version)
            if trio.current_time() >= until:
                return
            if trio.current_time() >= bookmark_at:
                bookmark_at += bookmark_every or 0
                yield self._bookmark(version)
        if self._end == "abrupt":
            raise BrokenOff
        if self._end == "expired":
            yield event("ERROR", status_error(410, "Expired", str(Expired(version, store.oldest))))

    def _concerns(self, change: Change) -> bool:
        resource, namespace, _ = change.key
        return resource == self._resource.name and self._namespace in ("", namespace)

    def _bookmark(self, version: int, annotations: Object | None = None) -> bytes:
        meta = {"resourceVersion": str(version), **({"annotations": annotations} if annotations else {})}
        blank: Object = {"spec": {"containers": None}, "status": {}} if self._resource.kind == "Pod" else {}
        head = {"kind": self._resource.kind, "apiVersion": self._resource.version}
        return event("BOOKMARK", {**head, "metadata": meta, **blank})
