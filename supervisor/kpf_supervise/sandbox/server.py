"""The API server's sockets. They can be closed, frozen and reopened, always on the same port."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import trio

HOST = "127.0.0.1"
BACKLOG = 128


class Gate:
    """Open or closed. While closed, nothing is read or written, as in a process stopped by SIGSTOP."""

    def __init__(self) -> None:
        self._opened = trio.Event()
        self._opened.set()

    def close(self) -> None:
        if self._opened.is_set():
            self._opened = trio.Event()

    def open(self) -> None:
        self._opened.set()

    async def passed(self) -> None:
        while not self._opened.is_set():
            await self._opened.wait()


class GatedStream(trio.abc.Stream):
    """A connection whose bytes wait at the gate."""

    def __init__(self, stream: trio.SocketStream, gate: Gate) -> None:
        self._stream = stream
        self._gate = gate

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._gate.passed()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        await self._gate.passed()
        data = await self._stream.receive_some(max_bytes)
        await self._gate.passed()
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


def bound_socket(port: int = 0) -> socket.socket:
    """A socket bound to the port (0: any free one) that does not listen, so that connections are refused."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    return bound


class Server:
    """Listens on one port of 127.0.0.1, or only reserves it."""

    def __init__(self, serve: Callable[[GatedStream], Awaitable[None]]) -> None:
        self.gate = Gate()
        self._serve = serve
        self._socket = bound_socket()
        self.port: int = self._socket.getsockname()[1]
        self._listening: trio.CancelScope | None = None
        self._refusing = trio.Event()
        self._connections: set[trio.CancelScope] = set()

    async def run(
        self,
        nursery: trio.Nursery,
        *,
        task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen until `stop`; started once connections are accepted. Serve them in `nursery`."""
        self._socket.listen(BACKLOG)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))
        self._refusing = trio.Event()
        try:
            with trio.CancelScope() as self._listening:
                await trio.serve_listeners(
                    self._connected, [listener], handler_nursery=nursery, task_status=task_status
                )
        finally:
            self._refusing.set()

    async def _connected(self, stream: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            self._connections.add(scope)
            try:
                await self._serve(GatedStream(stream, self.gate))
            finally:
                self._connections.discard(scope)

    async def stop(self, keep_connections: bool = False) -> None:
        """Return when new connections are refused. Keep the port. Cut open connections unless told to keep them."""
        if self._listening:
            self._listening.cancel()
            await self._refusing.wait()
            self._socket = bound_socket(self.port)
            self._listening = None
        if not keep_connections:
            for scope in self._connections:
                scope.cancel()

    def vanish(self) -> None:
        """All open connections go dead: no bytes, no close. New ones work."""
        self.gate.close()
        self.gate = Gate()

    def close(self) -> None:
        """Release the port of a stopped server."""
        if self._listening is None:
            self._socket.close()
