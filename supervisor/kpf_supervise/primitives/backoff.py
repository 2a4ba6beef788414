"""The delays between attempts. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import random

from kpf_supervise.model import Reconnect

HEALTHY = 10.0  # seconds: after a child has lived this long, attempts are counted from zero again


@dataclass(frozen=True, slots=True)
class Tries:
    """Counts the attempts of one round; `made` 0 begins a new one."""

    policy: Reconnect
    made: int = 0

    def lost(self, lived: float, chance: Callable[[], float] = random) -> tuple[Tries, float | None]:
        """A child has ended: the attempts from now on, and the seconds until the next; None if none is left.

        `lived` is how long the child forwarded, in seconds (0: it never did). The loss of a healthy child begins a
        new round. Its first attempt has no delay: most losses come from one bad connection, and clients are waiting.
        """
        made = 0 if lived >= HEALTHY else self.made
        if self.policy.attempts is not None and made >= self.policy.attempts:
            return self, None
        at_once = lived > 0 and made == 0
        pause = 0.0 if at_once else delay(self.policy.initial, self.policy.max, made, chance)
        return Tries(self.policy, made + 1), pause


def delay(initial: float, longest: float, doublings: int, chance: Callable[[], float] = random) -> float:
    """`initial` doubled `doublings` times, at most `longest`. Up to a quarter is subtracted at random, so that many
    retries do not coincide."""
    return min(longest, initial * 2.0 ** min(doublings, 32)) * (1 - chance() / 4)
