"""What another program may send: arbitrary text and JSON, for hypothesis.

The values are made by `random` from a seed that hypothesis chooses: its own strategies take ten times as long for JSON.
A failure shows the value; it isn't made smaller.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import strategies as st

Value = TypeVar("Value")

EXAMPLES = int(os.environ.get("HISTORIES", "500"))  # of each test that takes many; make soak takes 10,000
RANDOM = [pytest.mark.random, pytest.mark.timeout(60 + EXAMPLES / 20)]  # the `pytestmark` of their modules

# what does harm where it is not expected: control characters, line ends, directions, surrogates, separators, quotes
HARMFUL = (
    "\0\x07\b\t\n\r\x1b\x7f\x85\x9b\xa0\u2028\u2029\u202e\u200b\ufeff\ufffd\ud800\udfff \"'\\$`;&|<>{}[]()%*?~#=:/,.-"
)
RANGES = [
    (0x20, 0x7E),
    (0x20, 0x7E),
    (0xA1, 0x24F),
    (0x300, 0x36F),
    (0x590, 0x6FF),
    (0x3040, 0xFFFF),
    (0x10000, 0x10FFFF),
]


def made(make: Callable[[Random], Value]) -> st.SearchStrategy[Value]:
    """What `make` makes of a random generator, another one for each example."""
    return st.integers(0, 2**64 - 1).map(lambda seed: make(Random(seed)))


def text(random: Random, longest: int = 20) -> str:
    """Any characters, among them half surrogate pairs, mostly few; in a quarter of them plain ones alone."""
    length = min(int(random.expovariate(0.2)), longest)
    ranges = RANGES[:1] if random.random() < 0.25 else RANGES
    return "".join(
        random.choice(HARMFUL)
        if ranges is RANGES and random.random() < 0.3
        else chr(random.randint(*random.choice(ranges)))
        for _ in range(length)
    )


def some_bytes(random: Random, longest: int = 60) -> bytes:
    return random.randbytes(min(int(random.expovariate(0.1)), longest))


def json_value(random: Random, words: Sequence[str] = (), values: Sequence[str] = (), depth: int = 3) -> Any:
    """Any JSON value of at most this depth; many of its keys are one of `words`, many of its texts one of `values`."""

    def word(known: Sequence[str]) -> str:
        return random.choice(known) if known and random.random() < 0.6 else text(random)

    match random.randrange(8 if depth else 6):
        case 0:
            return random.choice([None, True, False])
        case 1:
            return random.choice([0, 1, -1, 80, 65535, 65536, 2**31, 2**63, -(2**64), random.randint(-(2**70), 2**70)])
        case 2:
            return random.choice([0.0, -0.5, 1e308, 5e-324, random.uniform(-1e6, 1e6)])
        case 3 | 4 | 5:
            return word(values)
        case 6:
            return [json_value(random, words, values, depth - 1) for _ in range(random.randrange(4))]
    return {word(words): json_value(random, words, values, depth - 1) for _ in range(random.randrange(6))}


def spoilt(random: Random, right: Any, words: Sequence[str] = (), values: Sequence[str] = ()) -> Any:
    """A right value in which one part, at any depth, is any other JSON value."""
    if not isinstance(right, dict | list) or not right or random.randrange(6) == 0:
        return json_value(random, words, values)
    if isinstance(right, list):
        return [spoilt(random, right[0], words, values), *right[1:]]
    key = random.choice(sorted(right))
    return {**right, key: spoilt(random, right[key], words, values)}
