"""The current states and the single stream of events. Everything that prints or shows state reads it from here."""

from __future__ import annotations

import math
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import trio

from kpf_supervise.model import (
    ADDED,
    KUBECTL,
    NOTICE,
    REMOVED,
    TRANSITIONS,
    UNPRINTED,
    Cause,
    Event,
    Forward,
    Problem,
    Status,
    Trigger,
)
from kpf_supervise.origin import Origin
from kpf_supervise.primitives.boundary import bare
from kpf_supervise.text import redact

_HISTORY = 1000  # number of events kept


class Board:
    """Holds the Status of each forward. Only `changed` changes a state."""

    def __init__(self) -> None:
        self._statuses: dict[str, Status] = {}
        self._subscribers: set[trio.MemorySendChannel[Event]] = set()
        self._bugs: frozenset[tuple[object, ...]] = frozenset()  # type and place of the bugs already reported
        self.history: deque[Event] = deque(maxlen=_HISTORY)  # oldest first, without those that are not printed

    def add(self, forward: Forward, origin: Origin = Origin.FILE) -> Status:
        status = Status(forward=forward, origin=origin, since=time.time())
        before = self._statuses.get(forward.id)
        if before is not None:  # the same forward with other settings
            status.log.extend(before.log)
            status.counters, status.bytes_in, status.bytes_out = before.counters, before.bytes_in, before.bytes_out
        self._statuses[forward.id] = status
        self._publish(Event(time=time.time(), forward=forward.id, kind=ADDED, message="listed"))
        return status

    def remove(self, id: str) -> None:
        del self._statuses[id]
        self._publish(Event(time=time.time(), forward=id, kind=REMOVED, message="no longer listed"))

    @property
    def statuses(self) -> Mapping[str, Status]:
        """By id, in the order in which they were listed: those of the file first, in its order."""
        return MappingProxyType(self._statuses)

    def changed(
        self,
        status: Status,
        trigger: Trigger,
        message: str,
        *,
        problem: Problem | None = None,
        kind: str | None = None,
        attempt: int | None = None,
        attempts: int | None = None,
        delay: float | None = None,
        printed: bool = True,
    ) -> None:
        """Apply a state change and publish it once, if not `printed` only to subscribers. Attempt `attempt` of
        `attempts` follows in `delay` seconds."""
        state = TRANSITIONS[status.state][trigger]
        if state is not status.state:
            status.since = time.time()
        status.state, status.problem = state, problem
        status.attempt, status.attempts = attempt, attempts
        status.retry_at = None if delay is None else time.time() + delay
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
                attempt=attempt,
                attempts=attempts,
                delay=delay,
                printed=printed,
            )
        )

    def notice(self, message: str, traceback: Iterable[str] = ()) -> None:
        """Publish a message that concerns no single forward."""
        lines = tuple(map(_cleaned, traceback))
        self._publish(Event(time=time.time(), forward=None, kind=NOTICE, message=message, traceback=lines))

    def bug(self, error: BaseException, what: str) -> str:
        """Report that `what` failed with an unexpected exception: the traceback only the first time, the sentence each
        time. Returns the sentence."""
        error = bare(error)
        summary = redact(traceback.format_exception_only(error)[-1].strip())
        last = traceback.extract_tb(error.__traceback__)[-1:]
        place = (type(error).__name__, *((last[0].filename, last[0].lineno) if last else ()))
        sentence = f"{what}: an error in kpf-supervise itself: {summary}"
        known, self._bugs = place in self._bugs, self._bugs | {place}
        trace = () if known else tuple(_lines(error))
        after = "its traceback is in the log already" if known else "please report it with the traceback"
        text = f"{sentence}. Everything else continues; {after}"
        self._publish(Event(time=time.time(), forward=None, kind=NOTICE, message=text, traceback=trace))
        return sentence

    def failing(self, what: str) -> Callable[[BaseException, float], None]:
        """A callback that reports that `what` failed and will be restarted."""

        def failed(error: BaseException, _: float) -> None:
            self.bug(error, what)

        return failed

    def said(self, status: Status, line: str) -> None:
        """Keep a line that the forward's kubectl wrote."""
        self._publish(Event(time=time.time(), forward=status.forward.id, kind=KUBECTL, message=line))

    def _publish(self, event: Event) -> None:
        if event.forward in self._statuses and event.kind != ADDED:
            self._statuses[event.forward].log.append(event)
        if event.printed and event.kind not in UNPRINTED:
            self.history.append(event)
        for subscriber in list(self._subscribers):
            try:
                subscriber.send_nowait(event)
            except trio.WouldBlock:  # a slow subscriber is dropped, never waited for
                self._subscribers.discard(subscriber)
                subscriber.close()

    @contextmanager
    def subscription(self, limit: float = math.inf, kept: bool = False) -> Iterator[trio.MemoryReceiveChannel[Event]]:
        """The events from now on, as a receive channel, with `kept` after those of the history. It ends early if more
        than `limit` events are unread."""
        send, receive = trio.open_memory_channel[Event](limit)
        for event in self.history if kept else ():
            send.send_nowait(event)
        self._subscribers.add(send)
        try:
            yield receive
        finally:
            self._subscribers.discard(send)
            send.close()
            receive.close()

    def close(self) -> None:
        """End all subscriptions. Each subscriber can still read its pending events."""
        for subscriber in self._subscribers:
            subscriber.close()
        self._subscribers.clear()


def _lines(error: BaseException) -> Iterator[str]:
    """The lines of the traceback, redacted, with their indentation."""
    yield from map(_cleaned, "".join(traceback.format_exception(error)).splitlines())


def _cleaned(line: str) -> str:
    text = line.lstrip(" ")
    return " " * (len(line) - len(text)) + redact(text)
