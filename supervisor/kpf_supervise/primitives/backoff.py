"""The delays between attempts. Pure."""

from __future__ import annotations

from collections.abc import Callable
from random import random

from kpf_supervise.model import Reconnect

HEALTHY = 10.0  # seconds: after a child has lived this long, attempts are counted from zero again


class Tries:
    """Counts the attempts of one round. Call `lost` each time a child ends, and `fresh` to begin a new round."""

    def __init__(self, policy: Reconnect, chance: Callable[[], float] = random) -> None:
        self._policy = policy
        self._chance = chance
        self.made = 0

    def lost(self, lived: float) -> float | None:
        """Seconds until the next attempt; None if no attempts are left.

        `lived` is how long the child forwarded, in seconds (0: it never did). The loss of a healthy child begins a
        new round. Its first attempt has no delay: most losses come from one bad connection, and clients are waiting.
        """
        if lived >= HEALTHY:
            self.made = 0
        if self._policy.attempts is not None and self.made >= self._policy.attempts:
            return None
        self.made += 1
        return 0.0 if lived > 0 and self.made == 1 else self._delay(self.made - 1)

    def fresh(self) -> None:
        self.made = 0

    def _delay(self, doublings: int) -> float:
        return delay(self._policy.initial, self._policy.max, doublings, self._chance)


def delay(initial: float, longest: float, doublings: int, chance: Callable[[], float] = random) -> float:
    """`initial` doubled `doublings` times, at most `longest`. Up to a quarter is subtracted at random, so that many
    retries do not coincide."""
    return min(longest, initial * 2.0 ** min(doublings, 32)) * (1 - chance() / 4)
