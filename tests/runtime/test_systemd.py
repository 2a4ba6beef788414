"""The service manager that listens on $NOTIFY_SOCKET, or doesn't."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import trio
import trio.testing

from kpf_supervise.events.board import Board
from kpf_supervise.model import TEMPLATE, Trigger
from kpf_supervise.runtime.systemd import tell_service_manager


@contextmanager
def manager_at(path: str) -> Iterator[socket.socket]:
    """As systemd listens: a datagram socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.setblocking(False)
        try:
            yield manager
        finally:
            os.unlink(path)


def all_said(manager: socket.socket) -> list[bytes]:
    said = []
    try:
        while True:
            said.append(manager.recv(999))
    except BlockingIOError:
        return said


async def turns() -> None:
    """Enough for whatever is to be told; it ends even where telling never does."""
    for _ in range(50):
        await trio.lowlevel.checkpoint()


async def test_one_that_is_not_there_is_told_once_and_one_that_comes_back_hears(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    path = f"/tmp/kpf-manager-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    board = Board()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_service_manager, board)
        await turns()
        status = board.add(TEMPLATE)
        board.changed(status, Trigger.CONNECT, "")
        board.changed(status, Trigger.READY, "")
        await turns()
        (notice,) = [event.message for event in board.history if event.kind == "notice"]
        assert notice.startswith(f"the service manager at $NOTIFY_SOCKET ({path}) can't be reached: No such file or")
        with manager_at(path) as manager:
            await trio.sleep(60)  # nothing happens to any forward in that time
            assert all_said(manager) == [b"STATUS=1 of 1 forwards are up\nREADY=1"]
        board.changed(status, Trigger.CONNECT, "")
        await turns()
        assert [event.kind for event in board.history].count("notice") == 1
        with manager_at(path) as manager:
            nursery.cancel_scope.cancel()
            await turns_shielded()
            assert all_said(manager)[-1] == b"STOPPING=1"


async def turns_shielded() -> None:
    with trio.CancelScope(shield=True):
        await turns()


@pytest.mark.parametrize(
    "address", ["x" * 5000, "relative", "\udcff", "@\udcff" * 100, "/", "@", "vsock:2:1234", "\0a"]
)
async def test_no_address_is_too_strange(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"NOTIFY_SOCKET": address})
    board = Board()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell_service_manager, board)
        await turns()
        nursery.cancel_scope.cancel()
    assert [event.kind for event in board.history] == ["notice"]
    assert board.history[0].message.isprintable()


async def test_one_that_takes_nothing_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    path = f"/tmp/kpf-manager-{os.getpid()}"
    with manager_at(path) as manager, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as flood:
        flood.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                flood.sendto(b"full", path)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_service_manager, Board())
            await turns()
            all_said(manager)
            await trio.sleep(60)
            assert all_said(manager) == [b"STATUS=0 of 0 forwards are up\nREADY=1"]
            nursery.cancel_scope.cancel()
