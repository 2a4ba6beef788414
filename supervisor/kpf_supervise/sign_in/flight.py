"""The credential of one user entry: who needs it waits for one sign-in, and a failed one is not begun again at will."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import trio

from kpf_supervise.model import Cause, ForwardError, Problem
from kpf_supervise.primitives.backoff import delay
from kpf_supervise.primitives.signal import Signal
from kpf_supervise.sign_in.credential import Credential
from kpf_supervise.sign_in.plugin import PluginFailed

_ASKED = 3.0  # seconds after which somebody may have been asked something, by a plugin that may ask
_RETRY = (0.5, 30.0)  # seconds: the first and the longest pause after a failure that came sooner
_REFUSALS = 3  # credentials in a row that the API server has refused, after which somebody has to act
_CALLED = 60.0  # seconds after a failure in which a new client does not begin another sign-in


class Given(NamedTuple):
    generation: int  # counts the credentials
    credential: Credential


class SignIn:
    """`run` signs in, and raises ForwardError. `asks`: it may ask somebody, or open a window. `spawn` runs a task
    beside; `changed` is called when a sign-in begins or ends. Times are trio's, but for `since`."""

    def __init__(
        self,
        run: Callable[[], Awaitable[Credential]],
        spawn: Callable[[Callable[[], Awaitable[None]]], None],
        changed: Callable[[], None],
        refused: Callable[[], Problem],
        asks: bool = True,
    ) -> None:
        self.asks = asks
        self.since: float | None = None  # when the sign-in that runs began, in seconds since the epoch
        self.begun = 0.0
        self.problem: Problem | None = None  # why there is no credential
        self.wants_terminal = False  # the last one failed because it could not ask its user
        self._run, self._spawn, self._changed, self._refused = run, spawn, changed, refused
        self._outcome: Problem | None = None  # of the last sign-in, even if there is a credential
        self._generation = 0
        self._credential: Credential | None = None
        self._doubtful = False  # the one before it was refused, and it has not been accepted yet
        self._failures = 0  # consecutive ones
        self._refusals = 0  # of credentials in a row
        self._failed_at = 0.0
        self._again_at = 0.0  # when it may be begun again by itself
        self._ended = Signal()

    @property
    def generation(self) -> int:
        """Of the credential that may be given out; 0 if there is none."""
        return self._generation if self._credential is not None and self._credential.lasts(time.time()) else 0

    async def get(self) -> Given:
        """The credential, by a sign-in if there is none that lasts: all who wait share it. Raises the ForwardError of a
        sign-in that failed, at once while it may not be begun again by itself."""
        while True:
            if self._credential is not None and self._credential.lasts(time.time()):
                return Given(self._generation, self._credential)
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
            self._changed()
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
            self._outcome = failure.problem if failure is not None else None
            if failure is not None and not self.generation:  # else there is another one meanwhile
                self.wants_terminal = isinstance(failure, PluginFailed) and failure.wants_terminal
                self._fail(failure.problem, asked=self.wants_terminal or trio.current_time() - self.begun >= _ASKED)
            self._ended.tell()
            self._changed()

    def take(self, credential: Credential) -> None:
        """There is a new one, from a sign-in elsewhere."""
        self._take(credential)
        self._ended.tell()
        self._changed()

    def _take(self, credential: Credential) -> None:
        self._credential, self.problem = credential, None
        self._generation += 1
        if not self._doubtful:
            self._failures = 0

    def _fail(self, problem: Problem, asked: bool) -> None:
        self._failures += 1
        self._failed_at = trio.current_time()
        self._again_at = self._failed_at + delay(*_RETRY, self._failures - 1)
        if problem.cause is Cause.CREDENTIALS and self.asks and asked:
            self._again_at = float("inf")
        self.problem = problem

    def refuse(self, generation: int) -> None:
        """The API server has refused this credential. If it was the one for which another was refused, what the plugin
        gives is no use: that is a failed sign-in."""
        if generation != self._generation or self._credential is None:
            return
        self._credential = None
        if self._doubtful:
            self._refusals += 1
            self._fail(self._refused(), asked=self._refusals >= _REFUSALS)
            self._changed()
        self._doubtful = True

    def accept(self, generation: int) -> None:
        """The API server has accepted it."""
        if generation == self._generation and self._doubtful:
            self._doubtful, self._failures, self._refusals = False, 0, 0

    def forget(self) -> None:
        """The kubeconfig has changed: what there was is another one's."""
        self._credential, self._doubtful = None, False
        self.permit()

    def permit(self) -> None:
        """Who needs the credential next may begin a sign-in: somebody is there, or something has changed."""
        self.problem, self._again_at, self._failures, self._refusals = None, 0.0, 0, 0

    def call(self) -> None:
        """A new client is there. It may begin a sign-in, unless one has just failed."""
        if self.problem is not None and trio.current_time() >= self._failed_at + _CALLED:
            self.permit()
