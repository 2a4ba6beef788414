"""Whether one cluster's API server answers. An outage is reported once, and one probe serves all waiting tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import trio

from kpf_supervise.model import LOGIN, OUTAGE, Cause, ForwardError, Problem
from kpf_supervise.primitives.backoff import delay
from kpf_supervise.primitives.single_flight import SingleFlight

_RETRY = (0.5, 3.0)  # seconds: the first and the longest pause after a failure; forwards wait for this
_LOGIN = (0.5, 30.0)  # the same while the user has to log in
_ANSWERS = frozenset({Cause.FORBIDDEN, Cause.NO_SUCH_OBJECT, Cause.NO_SUCH_NAMESPACE})  # the API server itself refuses


class Outage:
    """Shared by all watches of one cluster, which is called `label` in messages. `ask` makes a small request that every
    user may make, and raises ForwardError if that fails."""

    def __init__(self, label: str, ask: Callable[[], Awaitable[object]], notice: Callable[[str], None]) -> None:
        self._label = label
        self._ask = ask
        self._notice = notice
        self._question: SingleFlight[None, bool] = SingleFlight()
        self._told: set[Cause | None] = set()
        self._answers = trio.Event()  # replaced when an outage begins
        self._hurry = trio.Event()

    async def over(self, problem: Problem) -> bool:
        """Call this after a failed request; it returns once the API server answers. True after an outage. False if the
        server did answer: then the failure is specific to the caller's request, and may recur at once."""
        return await self._question.ask(None, partial(self._until_answered, problem))

    async def _until_answered(self, problem: Problem) -> bool:
        """The first probe comes at once: a single request may fail, for example by taking too long. After a failed
        login, a pause comes first, since a credential plugin may open a browser each time."""
        failures = 1 if problem.cause in LOGIN else 0
        self._answers = trio.Event()
        while True:
            if failures:
                self._tell(problem)
                await self._pause(*(_LOGIN if problem.cause in LOGIN else _RETRY), failures - 1)
            if not self._answers.is_set():
                try:
                    await self._ask()
                except ForwardError as trouble:
                    if trouble.problem.cause not in _ANSWERS:
                        problem = trouble.problem
                        failures += 1
                        continue
            self.answered()
            return failures > 0

    async def _pause(self, first: float, longest: float, failures: int) -> None:
        self._hurry = trio.Event()
        with trio.move_on_after(delay(first, longest, failures)):
            await self._hurry.wait()

    def _tell(self, problem: Problem) -> None:
        kind = None if problem.cause in OUTAGE else problem.cause  # e.g. the network is back, but the login has expired
        if kind not in self._told:
            self._told.add(kind)
            retried = "" if problem.cause is Cause.CREDENTIALS else " It is retried until it answers."
            self._notice(f"{self._label}: {problem.message}.{retried} {problem.next_step}".rstrip())

    def ask_again(self) -> None:
        """End the pause: the user may have fixed the cause."""
        self._hurry.set()

    def answered(self) -> None:
        """The API server has answered a request, even if only with a refusal."""
        if self._told:
            self._told = set()
            self._notice(f"{self._label}: the API server answers again")
        self._answers.set()
        self._hurry.set()
