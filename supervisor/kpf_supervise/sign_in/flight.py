"""The credential of one user entry: who needs it waits for one sign-in, and a failed one is not begun again at will."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import trio

from kpf_supervise.counters import count
from kpf_supervise.model import Cause, ForwardError, Problem
from kpf_supervise.primitives.backoff import delay
from kpf_supervise.primitives.signal import Signal
from kpf_supervise.sign_in.credential import Credential
from kpf_supervise.sign_in.plugin import PluginFailed

_ASKED = 3.0  # seconds after which somebody may have been asked something, by a plugin that may ask
RETRY = (0.5, 30.0)  # seconds: the first and the longest pause after a failure that came sooner
CALLED = 60.0  # seconds after a failure in which a new client does not begin another sign-in


class Given(NamedTuple):
    generation: int  # counts the credentials
    credential: Credential


class SignIn:
    """`run` signs in, and raises ForwardError. `asks`: it may ask somebody, or open a window. `spawn` runs a task
    beside; `listeners` are called when a sign-in begins or ends. Times are trio's, but for `since`."""

    def __init__(
        self,
        run: Callable[[], Awaitable[Credential]],
        spawn: Callable[[Callable[[], Awaitable[None]]], None],
        asks: bool = True,
    ) -> None:
        self.listeners: set[Callable[[], None]] = set()
        self.outcomes: dict[str, int] = {}  # how many have succeeded, and failed
        self.latest = 0  # the generation of the last credential
        self.asked = False  # the last sign-in may have asked somebody
        self.since: float | None = None  # when the sign-in that runs began, in seconds since the epoch
        self.begun = 0.0
        self.problem: Problem | None = None  # why there is no credential
        self.wants_terminal = False  # the last one failed because it could not ask its user
        self._run, self._spawn, self._asks = run, spawn, asks
        self._outcome: Problem | None = None  # of the last sign-in, even if there is a credential
        self._credential: Credential | None = None
        self._failures = 0  # consecutive ones
        self._failed_at = 0.0
        self._again_at = 0.0  # when it may be begun again by itself
        self._ended = Signal()

    @property
    def generation(self) -> int:
        """Of the credential that may be given out; 0 if there is none."""
        return self.latest if self._credential is not None and self._credential.lasts(time.time()) else 0

    async def get(self) -> Given:
        """The credential, by a sign-in if there is none that lasts: all who wait share it. Raises the ForwardError of a
        sign-in that failed, at once while it may not be begun again by itself."""
        while True:
            if self._credential is not None and self._credential.lasts(time.time()):
                return Given(self.latest, self._credential)
            if self.since is None:
                if self.problem is not None and trio.current_time() < self._again_at:
                    raise ForwardError(self.problem)
                self.begin()
            await self._ended.until(lambda: self.since is None)
            if self.problem is not None:
                raise ForwardError(self.problem)

    def begin(self) -> None:
        """Sign in now, whatever there is. A credential that lasts is given out until there is another one."""
        if self.since is None:
            self.since, self.begun = time.time(), trio.current_time()
            self.problem = None
            self.changed()
            self._spawn(self._sign_in)

    async def again(self) -> None:
        """Sign in anew, or share the sign-in that runs. Raises ForwardError."""
        self.begin()
        await self._ended.until(lambda: self.since is None)
        if self._outcome is not None:
            raise ForwardError(self._outcome)

    async def _sign_in(self) -> None:
        failure: ForwardError | None = PluginFailed("the sign-in broke off")
        try:
            self._take(await self._run())
            failure = None
        except ForwardError as trouble:
            failure = trouble
        finally:
            self.since = None
            self.asked = self._asks and trio.current_time() - self.begun >= _ASKED
            self._outcome = failure.problem if failure is not None else None
            count(self.outcomes, "failed" if failure is not None else "succeeded")
            if failure is not None and not self.generation:  # else there is another one meanwhile
                self.wants_terminal = isinstance(failure, PluginFailed) and failure.wants_terminal
                self._fail(failure.problem)
            self._ended.tell()
            self.changed()

    def take(self, credential: Credential) -> None:
        """There is a new one, from a sign-in elsewhere."""
        count(self.outcomes, "succeeded")
        self._take(credential)
        self._ended.tell()
        self.changed()

    def _take(self, credential: Credential) -> None:
        self._credential, self.problem = credential, None
        self.latest += 1
        self._failures = 0

    def _fail(self, problem: Problem) -> None:
        self._failures += 1
        self._failed_at = trio.current_time()
        self._again_at = self._failed_at + delay(*RETRY, self._failures - 1)
        if self.wants_terminal or (self.asked and problem.cause is Cause.CREDENTIALS):
            self._again_at = float("inf")
        self.problem = problem

    def drop(self, generation: int) -> None:
        """This one is no use: whoever needs a credential next signs in."""
        if generation == self.latest:
            self._credential = None

    def permit(self) -> None:
        """Who needs the credential next may begin a sign-in: somebody is there, or something has changed."""
        self.problem, self._again_at, self._failures = None, 0.0, 0

    def call(self) -> None:
        """A new client is there. It may begin a sign-in, unless one has just failed."""
        if self.problem is not None and trio.current_time() >= self._failed_at + CALLED:
            self.permit()

    def changed(self) -> None:
        for listener in list(self.listeners):
            listener()
