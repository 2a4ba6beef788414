from __future__ import annotations

from kpf_supervise.model import Reconnect
from kpf_supervise.primitives.backoff import HEALTHY, Tries, delay


def pauses(tries: Tries, *lived: float) -> list[float | None]:
    """The pause after each child that forwarded for so many seconds."""
    found = []
    for each in lived:
        tries, pause = tries.lost(each, lambda: 0)
        found.append(pause)
    return found


def test_three_attempts_that_double() -> None:
    tries = Tries(Reconnect(attempts=3, initial=0.5, max=30))
    assert pauses(tries, 0, 0, 0, 0) == [0.5, 1, 2, None]


def test_a_child_that_lived_is_tried_again_at_once_and_then_as_the_others() -> None:
    tries = Tries(Reconnect(attempts=3, initial=0.5, max=30))
    assert pauses(tries, 3, 3, 0, 0) == [0, 1, 2, None]


def test_ten_healthy_seconds_count_anew() -> None:
    tries = Tries(Reconnect(attempts=1, initial=0.5, max=30))
    assert pauses(tries, 0, HEALTHY - 0.1, HEALTHY, 0) == [0.5, None, 0, None]


def test_unlimited_goes_on_at_the_longest() -> None:
    tries = Tries(Reconnect(attempts=None, initial=0.5, max=4))
    assert pauses(tries, *[0] * 100)[3:] == [4] * 97


def test_chance_takes_up_to_a_quarter() -> None:
    assert delay(1, 30, 2, lambda: 1.0) == 3
    assert delay(1, 30, 10_000, lambda: 0.0) == 30
