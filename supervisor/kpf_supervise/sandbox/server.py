"""The API server's socket. It can be closed and reopened, always on the same port."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import trio

from kpf_supervise.sandbox.line import Line

HOST = "127.0.0.1"
BACKLOG = 128


def bound_socket(port: int = 0) -> socket.socket:
    """A socket bound to the port (0: any free one) that does not listen, so that connections are refused."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    return bound


class Server:
    """Listens on one port of 127.0.0.1, or only reserves it."""

    def __init__(self, serve: Callable[[trio.abc.Stream], Awaitable[None]]) -> None:
        self.line = Line()
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
                await self.line.carry(stream, self._serve)
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

    def close(self) -> None:
        """Release the port of a stopped server."""
        if self._listening is None:
            self._socket.close()
