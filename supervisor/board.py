"""The current states and the one stream of events; whoever prints or shows anything reads it from here."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import trio

from .model import TRANSITIONS, Cause, Event, Forward, Happening, Problem, Status


class Board:
    """Knows each forward's Status. `changed` is the only way to another state."""

    def __init__(self) -> None:
        self._statuses: dict[str, Status] = {}
        self._subscribers: set[trio.MemorySendChannel[Event]] = set()

    def add(self, forward: Forward) -> Status:
        status = Status(forward=forward, since=time.time())
        self._statuses[forward.id] = status
        return status

    def remove(self, id: str) -> None:
        del self._statuses[id]

    @property
    def statuses(self) -> Iterable[Status]:
        """In the order of the file."""
        return self._statuses.values()

    def changed(
        self,
        status: Status,
        happening: Happening,
        message: str,
        *,
        problem: Problem | None = None,
        kind: str | None = None,
        **facts: Any,
    ) -> None:
        """Take a state's change in and tell it once. `facts` are an Event's `attempt`, `attempts` and `delay`."""
        state = TRANSITIONS[status.state][happening]
        if state is not status.state:
            status.since = time.time()
        status.state, status.problem = state, problem
        cause: Cause | None = problem.cause if problem else None
        self._publish(
            Event(
                time=time.time(),
                forward=status.forward.id,
                kind=kind or state.value,
                message=message,
                state=state,
                cause=cause,
                pod=status.pod,
                port=status.port,
                **facts,
            )
        )

    def notice(self, message: str) -> None:
        """Tell something that concerns no single forward."""
        self._publish(Event(time=time.time(), forward=None, kind="notice", message=message))

    def _publish(self, event: Event) -> None:
        for subscriber in list(self._subscribers):
            try:
                subscriber.send_nowait(event)
            except trio.WouldBlock:  # a slow one is dropped, never waited for
                self._subscribers.discard(subscriber)
                subscriber.close()

    @contextmanager
    def subscription(self, limit: float = math.inf) -> Iterator[trio.MemoryReceiveChannel[Event]]:
        """The events from now on, as a receive channel; it ends early where more than `limit` wait to be read."""
        send, receive = trio.open_memory_channel[Event](limit)
        self._subscribers.add(send)
        try:
            yield receive
        finally:
            self._subscribers.discard(send)
            send.close()
            receive.close()

    def close(self) -> None:
        """No more events: each subscriber's stream ends after those it has not read yet."""
        for subscriber in self._subscribers:
            subscriber.close()
        self._subscribers.clear()
