"""A time limit for each test, as a pytest plugin: at the limit the test fails, and a dump shows where it hangs.

The limit is LIMIT seconds for each of setup, call and teardown, LONG for tests marked `long`, and n for tests marked
`timeout(n)`. Up to three steps follow, GRACE seconds apart:

1. Like Ctrl-C: the test is cancelled and cleans up after itself.
2. If that did not end it: KeyboardInterrupt is raised in the running code. trio.run stops without cleaning up.
3. If even that was caught, or C code does not return: the process exits. pytest-xdist names the test and starts
   another worker; without pytest-xdist the run ends.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Generator, Iterator
from types import FrameType
from typing import Any

import pytest
import trio

LIMIT = 60.0
LONG = 180.0
GRACE = float(os.environ.get("KPF_TEST_GRACE", "15"))
DEPTH = 20  # innermost frames of a stack to print
STDERR = pytest.StashKey[int]()  # a descriptor of the run's stderr that pytest does not capture


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "timeout(seconds): the test's own limit")
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        config.stash[STDERR] = os.dup(2)


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[STDERR])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _limited(item))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _limited(item))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _limited(item))


def limit_of(item: pytest.Item) -> float:
    """The limit of a test in seconds."""
    own = item.get_closest_marker("timeout")
    return float(own.args[0]) if own else LONG if item.get_closest_marker("long") else LIMIT


def _limited(item: pytest.Item) -> Generator[None, Any, Any]:
    seconds, stderr = limit_of(item), item.config.stash[STDERR]
    told = ""

    def strike(number: int, frame: FrameType | None) -> None:
        nonlocal told
        if not told:
            told = f"{item.nodeid} was stopped: it took longer than {seconds:g} s.\n{dump(frame)}"
            signal.raise_signal(signal.SIGINT)  # trio has its own handler for it
        else:
            os.write(stderr, f"\nIt can't be cancelled, and is broken off: {told}\n".encode(errors="replace"))
            raise KeyboardInterrupt

    handlers = {
        signal.SIGALRM: strike,
        signal.SIGINT: signal.default_int_handler,
    }  # a shell's & disables the latter
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    faulthandler.dump_traceback_later(seconds + 2 * GRACE, exit=True, file=stderr)
    signal.setitimer(signal.ITIMER_REAL, seconds, GRACE)
    result = None
    try:
        result = yield
    except BaseException:
        if not told:
            raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        for number, handler in before.items():
            signal.signal(number, handler)
    if told:  # regardless of how it ended
        pytest.fail(told, pytrace=False)
    return result


def dump(frame: FrameType | None) -> str:
    """The stack of each Python thread (this one's from `frame` on) and all tasks of the current trio.run."""
    stacks = sys._current_frames()
    here = next((ident for ident, top in stacks.items() if frame in [each for each, _ in traceback.walk_stack(top)]), 0)
    lines = []
    for ident, top in stacks.items():
        lines += [f"-- thread {ident}:", *traceback.format_stack(frame if ident == here else top, limit=DEPTH)]
    return "\n".join([*(line.rstrip() for line in lines), *tasks()])


def tasks() -> list[str]:
    """The tree of trio tasks, each with its name and where it is suspended. Empty outside of trio."""
    try:
        root = trio.lowlevel.current_root_task()
    except RuntimeError:
        return []
    return ["-- trio tasks:", *_branch(root, "")] if root is not None else []


def _branch(task: trio.lowlevel.Task, indent: str) -> Iterator[str]:
    yield f"{indent}{task.name}"
    for frame, line in task.iter_await_frames():
        yield f"{indent}    {frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _branch(child, f"{indent}  ")
