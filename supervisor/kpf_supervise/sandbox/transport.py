"""The byte streams under a tunnel: the upgraded TCP connection itself, or WebSocket messages in it.

Each has `receive`, which returns b"" at the end, and `send`. Both raise trio.BrokenResourceError if the connection
breaks.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Protocol

import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from kpf_supervise.sandbox.line import Gate

RECEIVE = 256 * 1024  # bytes read from the socket at a time


class Transport(Protocol):
    async def receive(self) -> bytes: ...

    async def send(self, data: bytes) -> None: ...


class Gated:
    """A transport whose bytes wait at its own gate."""

    def __init__(self, transport: Transport, gate: Gate) -> None:
        self._transport = transport
        self._gate = gate

    async def receive(self) -> bytes:
        data = await self._transport.receive()
        await self._gate.passed()
        return data

    async def send(self, data: bytes) -> None:
        await self._gate.passed()
        await self._transport.send(data)


class Raw:
    """SPDY directly on the connection, after `Upgrade: SPDY/3.1`."""

    def __init__(self, stream: trio.abc.Stream, received: bytes) -> None:
        self._stream = stream
        self._received = received  # bytes that came with the request

    async def receive(self) -> bytes:
        if self._received:
            received, self._received = self._received, b""
            return received
        return bytes(await self._stream.receive_some(RECEIVE))

    async def send(self, data: bytes) -> None:
        await self._stream.send_all(data)


class WebSocket:
    """SPDY in binary messages. Their boundaries mean nothing: kubectl sends one per field of a frame, some empty."""

    def __init__(self, stream: trio.abc.Stream, received: bytes) -> None:
        self._stream = stream
        self._received = received
        self._connection = Connection(ConnectionType.SERVER)
        self._broken = False  # the peer violated the protocol
        self._lock = trio.Lock()  # a pong may be sent between messages, never inside one

    async def receive(self) -> bytes:
        while True:
            joined = b"".join([piece.data for piece in await self._receive()])
            if joined or self._ended:
                return joined

    async def messages(self) -> AsyncGenerator[bytes]:
        """Whole messages until the end, for a protocol in which message boundaries matter."""
        message = b""
        while not self._ended:
            for piece in await self._receive():
                message += piece.data
                if piece.message_finished:
                    yield message
                    message = b""

    async def _receive(self) -> list[BytesMessage]:
        data = self._received or bytes(await self._stream.receive_some(RECEIVE))
        self._received = b""
        pieces = []
        try:
            self._connection.receive_data(data or None)
            for event in self._connection.events():
                match event:
                    case BytesMessage():
                        pieces.append(event)
                    case Ping():
                        await self._write(self._connection.send(event.response()))
                    case CloseConnection() if self._connection.state is ConnectionState.REMOTE_CLOSING:
                        await self._write(self._connection.send(event.response()))
        except (LocalProtocolError, RemoteProtocolError):
            self._broken = True
            return []
        return pieces

    @property
    def _ended(self) -> bool:
        return self._broken or self._connection.state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED)

    async def send(self, data: bytes) -> None:
        try:
            message = self._connection.send(BytesMessage(data=data))
        except LocalProtocolError as error:  # the peer has begun to close
            raise trio.BrokenResourceError from error
        await self._write(message)

    async def close(self) -> None:
        """Send a close frame. The peer answers with its own."""
        with suppress(LocalProtocolError):  # already closing
            await self._write(self._connection.send(CloseConnection(code=1000)))

    async def _write(self, data: bytes) -> None:
        async with self._lock:
            await self._stream.send_all(data)
