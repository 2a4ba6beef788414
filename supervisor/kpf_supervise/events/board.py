"""The current states and the one stream of events; whoever prints or shows anything reads it from here."""

from __future__ import annotations

import math
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
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
from kpf_supervise.primitives.boundary import bare
from kpf_supervise.text import redact

_HISTORY = 1000  # events that are kept


class Board:
    """Knows each forward's Status. `changed` is the only way to another state."""

    def __init__(self) -> None:
        self._statuses: dict[str, Status] = {}
        self._subscribers: set[trio.MemorySendChannel[Event]] = set()
        self._bugs: frozenset[tuple[object, ...]] = frozenset()  # type and place of those that were told
        self.history: deque[Event] = deque(maxlen=_HISTORY)  # oldest first, without what is UNPRINTED

    def add(self, forward: Forward, declared: bool = True) -> Status:
        status = Status(forward=forward, declared=declared, since=time.time())
        if forward.id in self._statuses:  # the same forward with other settings
            status.log.extend(self._statuses[forward.id].log)
        self._statuses[forward.id] = status
        self._publish(Event(time=time.time(), forward=forward.id, kind=ADDED, message="listed"))
        return status

    def remove(self, id: str) -> None:
        del self._statuses[id]
        self._publish(Event(time=time.time(), forward=id, kind=REMOVED, message="no longer listed"))

    @property
    def statuses(self) -> Mapping[str, Status]:
        """By id, in the order of the file; those that were started beside it come last."""
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
    ) -> None:
        """Take a state's change in and tell it once; the `attempt`-th of `attempts` comes in `delay` seconds."""
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
            )
        )

    def notice(self, message: str) -> None:
        """Tell something that concerns no single forward."""
        self._publish(Event(time=time.time(), forward=None, kind=NOTICE, message=message))

    def bug(self, error: BaseException, what: str) -> str:
        """Tell that `what` failed for a reason that nobody foresaw: the traceback once, the sentence each time. Returns
        the sentence."""
        error = bare(error)
        summary = redact(traceback.format_exception_only(error)[-1].strip())
        last = traceback.extract_tb(error.__traceback__)[-1:]
        place = (type(error).__name__, *((last[0].filename, last[0].lineno) if last else ()))
        sentence = f"{what}: an error in kpf-supervise itself: {summary}"
        known, self._bugs = place in self._bugs, self._bugs | {place}
        trace = () if known else tuple(_lines(error))
        after = "its traceback is in the log already" if known else "please report it with the traceback"
        text = f"{sentence}. All else goes on; {after}"
        self._publish(Event(time=time.time(), forward=None, kind=NOTICE, message=text, traceback=trace))
        return sentence

    def failing(self, what: str) -> Callable[[BaseException, float], None]:
        """What tells that `what` failed and is begun anew."""

        def failed(error: BaseException, _: float) -> None:
            self.bug(error, what)

        return failed

    def said(self, status: Status, line: str) -> None:
        """Keep a line that the forward's kubectl wrote."""
        self._publish(Event(time=time.time(), forward=status.forward.id, kind=KUBECTL, message=line))

    def _publish(self, event: Event) -> None:
        if event.forward in self._statuses and event.kind != ADDED:
            self._statuses[event.forward].log.append(event)
        if event.kind not in UNPRINTED:
            self.history.append(event)
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


def _lines(error: BaseException) -> Iterator[str]:
    """The traceback, clean and with its indentation."""
    for line in "".join(traceback.format_exception(error)).splitlines():
        text = line.lstrip(" ")
        yield " " * (len(line) - len(text)) + redact(text)
