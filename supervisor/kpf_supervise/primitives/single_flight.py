"""Merges concurrent requests for the same key into one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterator
from typing import Generic, TypeVar

import trio

from kpf_supervise.model import ForwardError, Problem

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")


class _Question(Generic[Answer]):
    """One request, pending or answered."""

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.answers: list[Answer] = []  # holds one answer once it has arrived
        self.problem: Problem | None = None


class SingleFlight(Generic[Key, Answer]):
    """Callers that ask for a `key` while a request for it is pending share its answer. Later callers ask again."""

    def __init__(self) -> None:
        self._asked: dict[Key, _Question[Answer]] = {}

    def __iter__(self) -> Iterator[Key]:
        """The keys of pending requests."""
        return iter(self._asked)

    async def ask(self, key: Key, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer for `key`, from this call or a concurrent one. Raises the ForwardError of the call that asked."""
        while (question := self._asked.get(key)) is not None:
            await question.ended.wait()
            if question.problem is not None:
                raise ForwardError(question.problem)
            if question.answers:
                return question.answers[0]
            # otherwise that call was cancelled, and another caller has to ask
        question = self._asked[key] = _Question()
        try:
            question.answers.append(await ask())
        except ForwardError as trouble:
            question.problem = trouble.problem
            raise
        finally:
            del self._asked[key]
            question.ended.set()
        return question.answers[0]
