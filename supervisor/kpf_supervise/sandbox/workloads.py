"""The process in a pod, with a handler for each port. Connections are pipes.

Ports whose names begin with "http" serve HTTP; all others echo their input. The paths are `/` (the pod's name),
`/whoami` (pod, host and port that were asked), `/healthz`, `/bytes/N`, `/slow`, `/stream`, `POST /upload` (answers the
byte count), `/websocket` (echoes messages) and `/exit` (the process crashes).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping

import h11
import trio
from wsproto.connection import Connection as WebSocket
from wsproto.connection import ConnectionType
from wsproto.events import CloseConnection, TextMessage
from wsproto.utilities import generate_accept_token

from kpf_supervise.sandbox.pipe import PipeEnd, pipe

Handler = Callable[[PipeEnd], Awaitable[None]]

SIZE = 64 * 1024  # bytes in one chunk, and so in one DATA frame
BLOCK = memoryview(random.Random(0).randbytes(16 * SIZE))  # /bytes/N repeats it; adjacent chunks differ
CHUNKS = [BLOCK[at : at + SIZE] for at in range(0, len(BLOCK), SIZE)]
SLOW = 2.0  # seconds that /slow takes
TICK = 0.1  # seconds between the lines of /stream


class Crash(Exception):
    """The process ends with exit code 1."""


class Process:
    """The main process of a container."""

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.ended = trio.Event()
        self._scope = trio.CancelScope()
        self._handlers: Mapping[int, Handler] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, handlers: Mapping[int, Handler], task_status: trio.TaskStatus[None]) -> None:
        """Serve until `end`; started once `dial` works. At the end all connections get EOF, as if the process died."""
        self._handlers = handlers
        with self._scope:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await trio.sleep_forever()
        if self.exit_code is None:
            self.exit_code = 137
        self.ended.set()

    def end(self, exit_code: int) -> None:
        if self.exit_code is None:
            self.exit_code = exit_code
        self._scope.cancel()

    def dial(self, port: int) -> PipeEnd | None:
        """A new connection, or None if nothing listens there."""
        if self.exit_code is not None or self._nursery is None or port not in self._handlers:
            return None
        near, far = pipe()
        self._nursery.start_soon(self._serve, self._handlers[port], far)
        return near

    async def _serve(self, handler: Handler, stream: PipeEnd) -> None:
        async with stream:
            try:
                await handler(stream)
            except Crash:
                self.end(1)
            except (trio.BrokenResourceError, h11.ProtocolError):
                pass  # the client left or sent invalid HTTP; its connection ends


async def echo(stream: PipeEnd) -> None:
    """Send back all input. Return, and so close, when the client's end is closed."""
    while chunk := await stream.receive_chunk():
        await stream.send_all(chunk)


def content(size: int) -> Iterator[bytes | memoryview]:
    """The body of `/bytes/SIZE`, in chunks."""
    turn = 0
    while size > 0:
        chunk = CHUNKS[turn % len(CHUNKS)]
        yield chunk[:size]
        size -= len(chunk)
        turn += 1


async def _body_size(connection: h11.Connection, stream: PipeEnd) -> int:
    """Read the request to its end. Returns the size of its body in bytes."""
    size = 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some())
        elif isinstance(event, h11.Data):
            size += len(event.data)
        else:
            return size


async def _answer(connection: h11.Connection, stream: PipeEnd, request: h11.Request, name: str, port: int) -> None:
    """Answer one request."""

    async def send(*events: h11.Event) -> None:
        for event in events:
            for piece in connection.send_with_data_passthrough(event) or []:
                await stream.send_all(piece)

    async def send_text(status: int, text: str) -> None:
        body = text.encode() if request.method != b"HEAD" else b""
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(text.encode())))]
        head = connection.send(h11.Response(status_code=status, headers=headers)) or b""
        await stream.send_all(head + (connection.send(h11.Data(data=body)) or b""))
        await send(h11.EndOfMessage())

    uploaded = await _body_size(connection, stream)
    method = request.method.decode()
    match [method, *request.target.decode().split("?")[0].strip("/").split("/")]:
        case ["GET" | "HEAD", ""]:
            await send_text(200, f"{name}\n")
        case ["GET", "whoami"]:
            host = dict(request.headers).get(b"host", b"").decode("ascii", "replace")
            await send_text(200, f"pod {name}, host {host}, port {port}\n")
        case ["GET", "healthz"]:
            await send_text(200, "ok")
        case ["GET", "bytes", size] if size.isdecimal():
            await send(h11.Response(status_code=200, headers=[("Content-Length", size)]))
            for chunk in content(int(size)):
                await send(h11.Data(data=chunk))  # type: ignore[arg-type]  # passed through untouched
            await send(h11.EndOfMessage())
        case ["GET", "slow"]:
            await trio.sleep(SLOW)
            await send_text(200, "slow\n")
        case ["GET", "stream"]:
            await send(h11.Response(status_code=200, headers=[("Transfer-Encoding", "chunked")]))
            for number in itertools.count():
                await send(h11.Data(data=f"tick {number}\n".encode()))
                await trio.sleep(TICK)
        case ["POST", "upload"]:
            await send_text(200, f"{uploaded}\n")
        case [_, "exit"]:
            raise Crash
        case _:
            await send_text(404, "not found\n")


async def _websocket(connection: h11.Connection, stream: PipeEnd, request: h11.Request) -> None:
    """Accept the client's WebSocket, and send back each text that it sends, until it closes."""
    accept = generate_accept_token(dict(request.headers).get(b"sec-websocket-key", b""))
    headers = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept.decode())]
    await stream.send_all(connection.send(h11.InformationalResponse(status_code=101, headers=headers)) or b"")
    socket = WebSocket(ConnectionType.SERVER)
    data = connection.trailing_data[0]
    while True:
        if data:
            socket.receive_data(data)
        for event in socket.events():
            if isinstance(event, TextMessage):
                await stream.send_all(
                    socket.send(TextMessage(data=event.data, message_finished=event.message_finished))
                )
            elif isinstance(event, CloseConnection):
                await stream.send_all(socket.send(event.response()))
                return
        if not (data := await stream.receive_some()):
            return


def http(name: str, port: int) -> Handler:
    """The HTTP server of the pod `name` on `port`. It keeps the connection open as long as the client does."""

    async def serve(stream: PipeEnd) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request) and event.target == b"/websocket":
                connection.next_event()  # it has no body
                return await _websocket(connection, stream, event)
            elif isinstance(event, h11.Request):
                await _answer(connection, stream, event, name, port)
                if connection.our_state is h11.MUST_CLOSE:
                    return None
                connection.start_next_cycle()
            else:  # ConnectionClosed
                return None

    return serve
