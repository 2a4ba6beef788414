"""How often refusals are told: a page that asks for a thousand wrong names must not flood the log. Pure."""

from __future__ import annotations

_AT_ONCE = 5  # told one by one
_EVERY = 60.0  # seconds after which so many are told again


class Sparing:
    """Decides which sentences are told. `now` is in seconds, of any clock that only goes forward."""

    def __init__(self) -> None:
        self._since = -_EVERY
        self._told: set[str] = set()
        self._silent = 0

    def tell(self, sentence: str, now: float) -> str:
        """What is to be told now: the sentence, with the number of those that were not told; "" for nothing."""
        if now - self._since >= _EVERY:
            silent, self._since, self._silent = self._silent, now, 0
            self._told = {sentence}
            return f"{sentence} ({silent} more refusals were not told)" if silent else sentence
        if sentence in self._told:
            return ""
        if len(self._told) >= _AT_ONCE:
            self._silent += 1
            return ""
        self._told.add(sentence)
        return sentence
