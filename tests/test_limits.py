"""The time limit of the tests themselves: what hangs fails, is named, shows where, and the next test runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import limits

REPOSITORY = Path(__file__).parent.parent
HEAD = """
import threading
import pytest
import trio

limited = pytest.mark.timeout(0.5)

def hang():
    threading.Event().wait(1)  # until the limit has struck
"""
HANGS = {  # test → what it is, and what the dump has to show
    "await": (
        """
@limited
async def test_await():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever, name="the one that hangs")
""",
        ["the one that hangs", "in sleep_forever"],
    ),
    "busy_loop": (
        """
@limited
def test_busy_loop():
    while True: pass
""",
        ["in test_busy_loop"],
    ),
    "busy_loop_of_a_task": (
        """
@limited
async def test_busy_loop_of_a_task():
    while True: pass
""",
        ["in test_busy_loop_of_a_task", "<test 'test_busy_loop_of_a_task'>"],
    ),
    "call_that_blocks": (
        """
@limited
def test_call_that_blocks():
    threading.Event().wait()
""",
        ["in wait"],
    ),
    "thread_of_a_task": (
        """
@limited
async def test_thread_of_a_task():
    await trio.to_thread.run_sync(hang)
""",
        ["in hang", "in to_thread_run_sync"],
    ),
    "fixture": (
        """
@pytest.fixture
def broken():
    while True: pass

@limited
def test_fixture(broken): pass
""",
        ["in broken"],
    ),
    "cleanup": (
        """
@limited
async def test_cleanup():
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()
""",
        ["in sleep_forever"],
    ),
}
WITHOUT_END = """
@limited
def test_without_end():
    while True:
        try:
            threading.Event().wait()
        except BaseException:
            pass
"""
NEXT = """
def test_next(): pass
"""


def run(folder: Path, workers: str, *tests: str) -> tuple[int, str]:
    """Run these tests in a pytest of their own. Returns its exit code and all that it prints."""
    file = folder / "test_it.py"
    file.write_text("".join([HEAD, *tests, NEXT]))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.limits", "-o", "trio_mode=true", workers, str(file)],
        cwd=REPOSITORY,
        env={**os.environ, "KPF_TEST_GRACE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_what_hangs_fails_and_shows_where(workers: str, tmp_path: Path) -> None:
    code, told = run(tmp_path, workers, *(text for text, _ in HANGS.values()))
    assert code == 1, told
    assert re.search("6 failed, 1 passed, .*1 error in ", told), told
    sections = re.split(r"(?m)^_+ (?:ERROR at setup of )?test_(\w+) _+$", told)
    shown = dict(zip(sections[1::2], sections[2::2], strict=True))
    assert shown.keys() == HANGS.keys(), told
    for name, (_, words) in HANGS.items():
        assert f"test_it.py::test_{name} was stopped: it took longer than 0.5 s" in shown[name], told
        assert all(word in shown[name] for word in words), shown[name]


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_what_can_not_be_stopped_ends_its_process_and_shows_where(workers: str, tmp_path: Path) -> None:
    code, told = run(tmp_path, workers, WITHOUT_END)
    assert code != 0, told
    assert "test_it.py::test_without_end" in told
    assert "in wait" in told, told
    if workers == "-n1":  # the next worker runs the rest
        assert "1 failed, 1 passed" in told, told


def test_every_test_of_this_suite_has_one(request: pytest.FixtureRequest) -> None:
    assert request.config.pluginmanager.has_plugin(limits.__name__)
    assert limits.limit_of(request.node) == limits.LIMIT
    assert signal.getitimer(signal.ITIMER_REAL)[0] > 0


@pytest.mark.long
def test_long_ones_have_longer(request: pytest.FixtureRequest) -> None:
    assert limits.limit_of(request.node) == limits.LONG


@pytest.mark.timeout(7)
def test_and_some_their_own(request: pytest.FixtureRequest) -> None:
    assert limits.limit_of(request.node) == 7
