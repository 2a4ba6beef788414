"""One question for all who want to know the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterator
from typing import Generic, TypeVar

import trio

from kpf_supervise.model import ForwardError, Problem

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")


class _Question(Generic[Answer]):
    """On its way, or answered."""

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.answers: list[Answer] = []  # one, once it is told
        self.problem: Problem | None = None


class SingleFlight(Generic[Key, Answer]):
    """Whoever asks for the same `key` while it is asked for shares the answer; whoever comes later asks anew."""

    def __init__(self) -> None:
        self._asked: dict[Key, _Question[Answer]] = {}

    def __iter__(self) -> Iterator[Key]:
        """What is asked for now."""
        return iter(self._asked)

    async def ask(self, key: Key, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer of one of those who ask for `key`. Raises ForwardError, that of another one too."""
        while (question := self._asked.get(key)) is not None:
            await question.ended.wait()
            if question.problem is not None:
                raise ForwardError(question.problem)
            if question.answers:
                return question.answers[0]
            # else it was cancelled, and somebody else is to ask
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
