"""The credential of a user as one API server takes it: another server may accept what this one refuses."""

from __future__ import annotations

from collections.abc import Callable

import trio

from kpf_supervise.model import ForwardError, Problem
from kpf_supervise.primitives.backoff import delay
from kpf_supervise.sign_in.flight import CALLED, RETRY, Given, SignIn


class Share:
    """What the kubectls of one API server get. `useless` says that it refuses whatever the plugin gives."""

    def __init__(self, sign_in: SignIn, useless: Callable[[], Problem]) -> None:
        self.sign_in = sign_in
        self._useless = useless
        self._refused: Problem | None = None
        self._doubtful = False  # the last credential was refused, and none has been accepted since
        self._bad = 0  # the generation that was refused last
        self._failures = 0
        self._failed_at = 0.0
        self._again_at = 0.0

    @property
    def problem(self) -> Problem | None:
        """Why there is no credential."""
        return self._refused or self.sign_in.problem

    async def get(self) -> Given:
        """As `SignIn.get`. Also raises ForwardError while the server refuses whatever there is."""
        if self._refused is not None:
            if trio.current_time() < self._again_at:
                raise ForwardError(self._refused)
            self._try_again()
        return await self.sign_in.get()

    def refuse(self, generation: int) -> None:
        """The API server has refused this credential, to one of those who have it. If it was the one for which another
        was refused, what the plugin gives is no use: that is a failed sign-in."""
        if generation != self.sign_in.latest or self._refused is not None:
            return
        if self._doubtful and generation != self._bad:
            self._failures += 1
            self._failed_at = trio.current_time()
            pause = float("inf") if self.sign_in.asked else delay(*RETRY, self._failures - 1)
            self._again_at = self._failed_at + pause
            self._refused = self._useless()
            self.sign_in.changed()
        else:
            self.sign_in.drop(generation)
        self._doubtful, self._bad = True, generation

    def accept(self, generation: int) -> None:
        """The API server has accepted it."""
        if generation == self.sign_in.latest:
            self._doubtful, self._failures, self._refused = False, 0, None

    def permit(self) -> None:
        """As `SignIn.permit`."""
        if self._refused is not None:
            self._try_again()
        self.sign_in.permit()

    def call(self) -> None:
        """As `SignIn.call`."""
        if self._refused is not None and trio.current_time() >= self._failed_at + CALLED:
            self._try_again()
        self.sign_in.call()

    def _try_again(self) -> None:
        self._refused = None
        self.sign_in.drop(self._bad)
