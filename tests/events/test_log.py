"""The printer of events, and descriptors that take nothing for a while or for good."""

from __future__ import annotations

import errno
import json
import os
import pty
from pathlib import Path

import pytest
import trio
import trio.testing

from kpf_supervise.events.board import Board
from kpf_supervise.events.log import print_events


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("torn", [0, 7])
async def test_a_log_that_was_full_goes_on_and_counts_what_is_lost(
    code: int, torn: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`torn` bytes of the first lost line are there."""
    board, write, full, left = Board(), os.write, False, 0

    def limited(fd: int, data: bytes) -> int:
        nonlocal left
        if not full:
            return write(fd, data)
        if not left:
            raise OSError(code, "")
        count, left = write(fd, data[:left]), 0
        return count

    monkeypatch.setattr(os, "write", limited)
    log = tmp_path / "log"
    with log.open("ab") as file:
        async with trio.open_nursery() as nursery:
            await nursery.start(print_events, board, "json", file.fileno())

            async def tell(text: str) -> None:
                board.notice(text)
                await trio.testing.wait_all_tasks_blocked()

            await tell("before")
            full, left = True, torn
            await tell("lost")
            await tell("lost")
            full = False
            await tell("after")
            await tell("last")
            board.close()
    lines = log.read_text().splitlines()
    if torn:
        assert len(lines.pop(1)) == torn
    said = [json.loads(line)["message"] for line in lines]
    assert said == ["before", f"2 lines are missing here: {os.strerror(code)}", "after", "last"]


async def test_a_full_device_is_tried_again() -> None:
    """/dev/full has no readiness that one could wait for."""
    board = Board()
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(print_events, board, "text", fd)
            board.notice("lost")
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks, "it goes on"
            nursery.cancel_scope.cancel()
    finally:
        os.close(fd)


@pytest.mark.parametrize("what", ["pipe", "terminal"])
async def test_a_reader_that_is_gone_ends_it(what: str) -> None:
    board = Board()
    theirs, ours = os.pipe() if what == "pipe" else pty.openpty()
    os.close(theirs)
    try:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                await nursery.start(print_events, board, "text", ours)
                board.notice("nobody reads this")
    finally:
        os.close(ours)
