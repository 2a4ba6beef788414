"""The time limit of the tests themselves: what hangs fails, is named, shows where, and the next test runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import limits

REPOSITORY = Path(__file__).parent.parent
FILE = """
import threading
import pytest
import trio

limited = pytest.mark.timeout(0.5)

def hang():
    threading.Event().wait(1)  # until the limit has struck

{hanging}
def test_next(): pass
"""
HANGS = {  # where → the test that hangs, and what the dump has to show
    "in await": (
        """
@limited
async def test_hangs():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever, name="the one that hangs")
""",
        ["the one that hangs", "in sleep_forever"],
    ),
    "in a busy loop": (
        """
@limited
def test_hangs():
    while True: pass
""",
        ["in test_hangs"],
    ),
    "in a busy loop of a task": (
        """
@limited
async def test_hangs():
    while True: pass
""",
        ["in test_hangs", "<test 'test_hangs'>"],
    ),
    "in a call that blocks": (
        """
@limited
def test_hangs():
    threading.Event().wait()
""",
        ["in wait"],
    ),
    "in a thread of a task": (
        """
@limited
async def test_hangs():
    await trio.to_thread.run_sync(hang)
""",
        ["in hang", "in to_thread_run_sync"],
    ),
    "in a fixture": (
        """
@pytest.fixture
def broken():
    while True: pass

@limited
def test_hangs(broken): pass
""",
        ["in broken"],
    ),
    "in its cleanup": (
        """
@limited
async def test_hangs():
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()
""",
        ["in sleep_forever"],
    ),
    "without end": (
        """
@limited
def test_hangs():
    while True:
        try:
            threading.Event().wait()
        except BaseException:
            pass
""",
        ["in wait"],
    ),
}


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
@pytest.mark.parametrize("where", HANGS)
def test_what_hangs_fails_and_shows_where(where: str, workers: str, tmp_path: Path) -> None:
    hanging, shown = HANGS[where]
    file = tmp_path / "test_it.py"
    file.write_text(FILE.format(hanging=hanging))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.limits", "-o", "trio_mode=true", workers, str(file)],
        cwd=REPOSITORY,
        env={**os.environ, "KPF_TEST_GRACE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    told = done.stdout + done.stderr
    assert done.returncode != 0, told
    assert "test_it.py::test_hangs" in told
    assert all(word in told for word in shown), told
    if (where, workers) != ("without end", "-n0"):  # that ends the only process
        assert "1 passed" in told, told
        assert "1 failed" in told or "1 error" in told, told


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
