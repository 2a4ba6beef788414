"""One client's connection: held while there is no tunnel, then relayed to the tunnel's port, byte for byte."""

from __future__ import annotations

import os
from contextlib import suppress

import trio

from kpf_supervise.forwarding.client import HEAD, Client
from kpf_supervise.forwarding.tunnel import SETTLE, Tunnel
from kpf_supervise.model import Status

LARGE = 256 * 1024  # bytes per read, at most
SMALL = 16 * 1024  # bytes; up to this size, data that waits for its reader is copied out of its large buffer
_SPARE = 8  # large buffers that are kept for reuse
TURN = 1024 * 1024  # bytes after which other connections get their turn

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


async def carry(client: Client, tunnel: Tunnel, status: Status) -> bool:
    """Relay the client over a new connection to the tunnel until both directions have ended, with half-close.

    False if the client was never served and another tunnel may be tried: the tunnel was gone, or it closed the
    connection without one byte and said that the pod could not be dialled, or it never took the connection. A
    connection that got a byte, or whose fate is unknown, is never retried. Raises no network errors.
    """
    tunnel.opened += 1
    turn = tunnel.opened
    remote = None
    try:
        try:
            remote = await _connect(tunnel.port)
        except OSError:  # the tunnel is gone, or we are out of file descriptors
            tunnel.opened -= 1
            return False
        exchange = _Exchange(client, tunnel, remote, status, turn)
        await exchange.run()
        if exchange.left and exchange.answered and tunnel.wedges:
            tunnel.broken_off = True
            tunnel.tell()
        if client.head is None or exchange.left or not await _never_served(tunnel, turn, exchange.passed):
            return True
        status.bytes_in -= exchange.passed
        return False
    finally:
        if remote is not None:
            await trio.aclose_forcefully(remote)


async def _connect(port: int) -> trio.SocketStream:
    """Faster than trio.open_tcp_stream, which resolves names and races addresses. Raises OSError."""
    remote = trio.socket.socket()
    try:
        await remote.connect(("127.0.0.1", port))
    except BaseException:
        remote.close()
        raise
    return trio.SocketStream(remote)


async def _never_served(tunnel: Tunnel, turn: int, passed: int) -> bool:
    """Judge a connection that the tunnel ended without one byte: its `turn`-th, with `passed` bytes sent to it."""
    refused_before = tunnel.unreached
    if not refused_before:
        await tunnel.wait_for_fault(SETTLE)
    if tunnel.fault is None:
        return False  # the pod itself closed it
    if passed == 0 or turn > tunnel.handled:
        return True
    # a message that came after this connection ended is about the newest one
    return refused_before or (tunnel.unreached and turn == tunnel.opened)


_spare: list[memoryview] = []  # unused large buffers


class _Flow:
    """One direction: reads pieces from one connection and writes each to the other.

    It works directly on the file descriptors: trio's own calls go through the scheduler at each read and write, which
    took longer than the copying. Each read goes into a large reused buffer, since a fresh one costs the kernel more
    than the copying. A flow holds a buffer only from a read until the bytes are written. It holds none while it waits
    for data, so a thousand quiet connections cost little memory.
    """

    def __init__(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        self._source = source.socket.fileno()
        self._sink = sink.socket.fileno()
        self._buffer: memoryview | None = None
        self._piece = memoryview(b"")  # the bytes that were read into it
        self._unyielded = 0  # bytes moved since other connections had their turn

    async def read(self) -> memoryview:
        """The next piece, valid until it is written; empty at the end. Raises OSError."""
        while True:
            if self._buffer is None:
                self._buffer = _spare.pop() if _spare else memoryview(bytearray(LARGE))
            try:
                self._piece = self._buffer[: os.readv(self._source, [self._buffer])]
                return self._piece
            except BlockingIOError:
                self._give_back()
                await trio.lowlevel.wait_readable(self._source)
                self._unyielded = 0

    def _give_back(self) -> None:
        self._piece.release()  # our callers still have it, which would keep the buffer alive
        if self._buffer is not None and len(_spare) < _SPARE:
            _spare.append(self._buffer)
        self._buffer = None

    async def write(self, data: bytes | memoryview) -> None:
        """Raises OSError."""
        while data:
            try:
                sent = os.write(self._sink, data)
            except BlockingIOError:
                if len(data) <= SMALL:
                    data = bytes(data)
                    self._give_back()
                await trio.lowlevel.wait_writable(self._sink)
                self._unyielded = 0
                continue
            data = data[sent:]
            self._unyielded += sent
        if self._unyielded > TURN:
            self._unyielded = 0
            await trio.lowlevel.checkpoint()


class _Exchange:
    """The two directions between a client and one connection to a tunnel."""

    def __init__(self, client: Client, tunnel: Tunnel, remote: trio.SocketStream, status: Status, turn: int) -> None:
        self.client, self.tunnel, self.remote, self.status, self.turn = client, tunnel, remote, status, turn
        self.answered = False  # the pod's first byte has come
        self.patience = trio.CancelScope()  # limits the wait for that byte, from the client's first byte on
        self.left = False  # the client aborted
        self.passed = 0  # bytes sent to the tunnel

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._to_pod, nursery.cancel_scope)
            whole = await self._to_client()
            if not whole or not self.answered:
                nursery.cancel_scope.cancel()

    async def _to_client(self) -> bool:
        """True if the pod ended its side normally, False if nothing more can be passed on."""
        flow, tunnel, blocked = _Flow(self.remote, self.client.stream), self.tunnel, self.tunnel.blocked
        try:
            data = await self._first(flow)
            while data:
                self.status.bytes_out += len(data)
                self.client.facts.bytes_out += len(data)
                tunnel.heard = blocked[self.turn] = trio.current_time()
                try:
                    await flow.write(data)
                except OSError:
                    self.left = True
                    return False
                del blocked[self.turn]
                data = await flow.read()
            if self.answered:
                await self.client.stream.send_eof()
        except (OSError, *_GONE):
            return False
        finally:
            blocked.pop(self.turn, None)
        return True

    async def _first(self, flow: _Flow) -> memoryview:
        """The first piece. If it takes long and nothing else comes from the pod, the tunnel may be dead. If the piece
        comes after all, later connections may take longer."""
        tunnel, limit, missed = self.tunnel, self.tunnel.patience.limit, False
        data = memoryview(b"")
        with self.patience:
            data = await flow.read()
        if self.patience.cancelled_caught:
            silent = tunnel.heard <= trio.current_time() - limit
            missed = silent and tunnel.patience.answered and tunnel.unanswered is None and not tunnel.blocked
            if missed:
                tunnel.unanswered = limit
                tunnel.tell()
            data = await flow.read()
        if data:
            if missed:
                tunnel.patience.was_too_short()
                tunnel.unanswered = None
                tunnel.tell()
            self.answered = tunnel.proven = tunnel.patience.answered = True
            self.client.head = None
        return data

    async def _to_pod(self, both: trio.CancelScope) -> None:
        """If the client aborts, both directions end. If the tunnel takes no more data, the other one stays open."""
        flow = _Flow(self.client.stream, self.remote)
        if self.client.head and not await self._pass_on(flow, bytes(self.client.head)):
            return
        while not self.client.ended:
            try:
                data = await flow.read()
            except OSError:
                self.left = True
                both.cancel()
                return
            self.client.ended = not data
            if self.client.head is not None:
                self.client.head += data
                if len(self.client.head) > HEAD:
                    self.client.head = None
            if data and not await self._pass_on(flow, data):
                return
        with suppress(*_GONE):
            await self.remote.send_eof()

    async def _pass_on(self, flow: _Flow, data: bytes | memoryview) -> bool:
        if not self.passed:
            self.patience.deadline = trio.current_time() + self.tunnel.patience.limit
        size = len(data)
        self.passed += size
        try:
            await flow.write(data)
        except OSError:
            return False
        self.status.bytes_in += size
        self.client.facts.bytes_in += size
        return True
