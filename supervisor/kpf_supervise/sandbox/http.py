"""One HTTP/1.1 connection of the API server: requests in, plain or streamed answers out, or an upgrade."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import h11
import trio

from kpf_supervise.sandbox.store import Object
from kpf_supervise.sandbox.transport import Raw, Transport, WebSocket

RECEIVE = 64 * 1024
WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


class Request(NamedTuple):
    method: str
    path: str  # without the query
    query: Mapping[str, str] = MappingProxyType({})
    headers: Mapping[str, str] = MappingProxyType({})  # names in lower case
    body: bytes = b""
    protocol: str = "HTTP/1.1"

    @classmethod
    def of(cls, method: str, target: str, headers: Mapping[str, str], body: bytes, protocol: str) -> Request:
        url = urlsplit(target)
        return cls(method, url.path, dict(parse_qsl(url.query, keep_blank_values=True)), headers, body, protocol)

    def json(self) -> Object:
        """The body as JSON, {} if empty. Raises ValueError."""
        value = json.loads(self.body or b"{}")
        if not isinstance(value, dict):
            raise ValueError("the body is not an object")
        return value


@dataclass(frozen=True, slots=True)
class Response:
    body: Object | str
    status: int = 200

    def encoded(self) -> tuple[str, bytes]:
        """The content type and the content."""
        if isinstance(self.body, str):
            return "text/plain", self.body.encode()
        return "application/json", json.dumps(self.body, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Streamed:
    """A chunked 200 that ends with `chunks`. If `chunks` raises BrokenOff, it breaks off without a last chunk."""

    chunks: AsyncGenerator[bytes]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Answer 101 with these headers, then hand the connection to `serve` until it returns."""

    serve: Callable[[Transport], Awaitable[None]]
    headers: Mapping[str, str] = field(default_factory=dict)
    websocket: bool = False


Answer = Response | Streamed | Upgrade


class BrokenOff(Exception):
    """Close the connection in the middle of the answer."""


def accept_token(key: str) -> str:
    """The Sec-WebSocket-Accept for a Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1((key + WEBSOCKET_GUID).encode()).digest()).decode()


class HttpConnection:
    """Serves one connection. `handle` returns the answer to each request."""

    def __init__(self, stream: trio.abc.Stream, handle: Callable[[Request], Awaitable[Answer]]) -> None:
        self._stream = stream
        self._handle = handle
        self._h11 = h11.Connection(h11.SERVER)
        self._idle = trio.CancelScope()
        self._draining = False

    def drain(self) -> None:
        """Take no more requests, and end when the one under way is answered or the tunnel has ended."""
        self._draining = True
        self._idle.cancel()

    async def serve(self) -> None:
        """Return when either side has closed or the answer broke off. The caller closes the stream."""
        try:
            while not self._draining:
                request = None
                with trio.CancelScope() as self._idle:
                    request = await self._request()
                if request is None:
                    return
                await self._respond(await self._handle(request))
                if self._h11.our_state is not h11.DONE:
                    return
                self._h11.start_next_cycle()
        except (trio.BrokenResourceError, h11.ProtocolError, BrokenOff):
            pass

    async def _request(self) -> Request | None:
        """The next request with its body, or None if the client has closed."""
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                self._h11.receive_data(bytes(await self._stream.receive_some(RECEIVE)))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
                return Request.of(head.method.decode(), head.target.decode(), headers, bytes(body), "HTTP/1.1")
            else:
                return None

    async def _respond(self, answer: Answer) -> None:
        match answer:
            case Response():
                await self._whole(answer)
            case Streamed(chunks):
                await self._streamed(chunks)
            case Upgrade():
                await self._upgraded(answer)

    async def _send(self, *events: h11.Event) -> None:
        await self._stream.send_all(b"".join(self._h11.send(event) or b"" for event in events))

    async def _whole(self, answer: Response) -> None:
        kind, data = answer.encoded()
        headers = [("Content-Type", kind), ("Content-Length", str(len(data)))]
        head = h11.Response(status_code=answer.status, headers=headers)
        await self._send(head, h11.Data(data=data), h11.EndOfMessage())

    async def _streamed(self, chunks: AsyncGenerator[bytes]) -> None:
        headers = [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")]
        await self._send(h11.Response(status_code=200, headers=headers))
        async with aclosing(chunks):
            async for chunk in chunks:
                await self._send(h11.Data(data=chunk))
        await self._send(h11.EndOfMessage())

    async def _upgraded(self, answer: Upgrade) -> None:
        headers = list(answer.headers.items())
        await self._send(h11.InformationalResponse(status_code=101, headers=headers))
        received, _ = self._h11.trailing_data
        transport = WebSocket if answer.websocket else Raw
        await answer.serve(transport(self._stream, bytes(received)))
