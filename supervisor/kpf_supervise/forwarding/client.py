"""A client's connection while it waits for a tunnel: accepted on the forward's own port, or handed over by whoever
accepted it elsewhere."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from kpf_supervise.model import Cause, Connection, Problem

HEAD = 64 * 1024  # bytes of a client that are kept for a retry, until the pod's first byte

_LAST_WORDS = 5.0  # seconds for a client to take them
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """What a client that was handed over is told before any byte of the pod. `ended` is called at the end, whatever
    has happened."""

    opened: bytes = b""  # sent once, when it has a tunnel
    refused: Callable[[Problem], bytes] = lambda problem: b""  # what is sent if it is not given one
    ended: Callable[[], None] = lambda: None


class Client:
    """A client's connection, with the first bytes it sent: `head` are those that were read already."""

    def __init__(
        self, stream: trio.SocketStream, peer: str | None = None, head: bytes = b"", manners: Manners = Manners()
    ) -> None:
        self.stream = stream
        self.head: bytearray | None = bytearray(head)  # None once it can't be sent again
        self.ended = False  # it has sent its FIN
        self.manners = manners
        self.facts = Connection(address_of(stream.socket) if peer is None else peer, time.time())
        self._told = False  # that it is connected, or why not

    async def welcome(self) -> None:
        """Say that it is connected, unless that was said. Raises trio.BrokenResourceError if it has left."""
        if not self._told:
            self._told = True
            if self.manners.opened:
                await self.stream.send_all(self.manners.opened)

    async def turn_away(self, problem: Problem) -> None:
        """Say why it is not connected, unless it was connected once."""
        with trio.move_on_after(_LAST_WORDS):
            try:
                await self.stream.send_all(self._refusal(problem))
            except _GONE:
                return

    def dismiss(self, forward: str) -> None:
        """The forward that holds it ends: say so, unless it was told something. Waits for nothing: the few bytes fit
        into the buffer of a connection on which nothing was sent yet."""
        last = self._refusal(Problem(Cause.OTHER, f"the forward {forward} has ended while it held the connection"))
        with suppress(OSError):
            os.write(self.stream.socket.fileno(), last)

    def _refusal(self, problem: Problem) -> bytes:
        told, self._told = self._told, True
        return b"" if told else self.manners.refused(problem)

    async def left(self) -> None:
        """Read ahead while the client is held. Returns when the client has left, otherwise never.

        A FIN may be a half-close by a client that waits for its answer, or the end of a client that gave up.
        On Linux the kernel knows whether a process still holds the socket; elsewhere the client counts as left.
        """
        assert self.head is not None
        while not self.ended and len(self.head) < HEAD:
            try:
                data = await self.stream.receive_some(HEAD - len(self.head))
            except _GONE:
                return
            self.head += data
            self.ended = not data
        if self.ended and not still_there(self.stream.socket):
            return
        await trio.sleep_forever()


def address_of(ours: trio.socket.SocketType) -> str:
    """Of the peer; "" if that has left already."""
    try:
        return ":".join(map(str, ours.getpeername()[:2]))
    except OSError:
        return ""


def still_there(ours: trio.socket.SocketType) -> bool:
    """Whether the peer, on this machine, has only shut down its writing side. In /proc/net/tcp, a socket that no
    process holds any more has inode 0. The other end of a socket pair is ours, and closes it only as a whole."""
    if ours.family == socket.AF_UNIX:
        return False
    table = "tcp6" if ours.family == socket.AF_INET6 else "tcp"
    try:
        host, port = ours.getpeername()[:2]
        us = f":{ours.getsockname()[1]:04X}"
        rows = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    except OSError:  # it was reset, or this system has no such table
        return False
    packed = socket.inet_pton(ours.family, host)
    words = [packed[i : i + 4] for i in range(0, len(packed), 4)]
    peer = "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words) + f":{port:04X}"
    return any(row[1] == peer and row[2].endswith(us) and row[9] != "0" for row in map(str.split, rows))
