"""One request of a client and its answer, between two connections of HTTP."""

from __future__ import annotations

import h11
import trio

from kpf_supervise.forwarding.client import still_there
from kpf_supervise.protocols import http
from kpf_supervise.proxying.ways import relay
from kpf_supervise.serving.http import HEADER, PIECE

_SWITCHING = 101
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class Broken(Exception):
    """The answer broke off, or was none of HTTP. `begun`: the client has got some of it."""

    def __init__(self, begun: bool, why: object) -> None:
        super().__init__(why)
        self.begun = begun


class NoAnswer(Exception):
    """The connection ended before the first byte of an answer."""


class Left(Exception):
    """The client has left."""


class Exchange:
    """`client` is the state of the client's connection `stream`, whose request has just been read up to its body."""

    def __init__(
        self, client: h11.Connection, stream: trio.SocketStream, upstream: trio.SocketStream, passage: http.Passage
    ) -> None:
        self._client, self._stream, self._upstream, self._passage = client, stream, upstream, passage
        self._server = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADER)
        self._failure: Exception | None = None
        self._begun = False  # the client has got some of the answer
        self._switched = False
        self._both = trio.CancelScope()

    async def run(self) -> bool:
        """Send the request, and pass the answer on while its body may still be sent; if the pod agrees to change the
        protocol, then copy bytes. Returns whether the connection to the pod may be used again. Raises NoAnswer, Broken,
        Left, and h11.RemoteProtocolError if the client's body is not HTTP."""
        try:
            await self._upstream.send_all(self._server.send(self._passage.request) or b"")
        except _GONE:
            raise NoAnswer from None
        with self._both:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._from_client)
                try:
                    await self._to_client()
                    self._both.cancel()
                except (Broken, NoAnswer, Left) as failure:
                    self._fail(failure)
        if self._failure is not None:
            raise self._failure
        if self._switched:
            rest, first = self._client.trailing_data[0], self._server.trailing_data[0]
            await relay(self._stream, self._upstream, rest, first)
            raise Left
        return self._server.our_state is h11.DONE and self._server.their_state is h11.DONE

    async def _from_client(self) -> None:
        """Send the body on, then watch whether the client leaves."""
        try:
            await self._send_body()
            await self._until_left()
            self._fail(Left())
        except h11.RemoteProtocolError as error:
            self._fail(error)
        except _GONE:
            self._fail(Left())

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure
        self._both.cancel()

    async def _send_body(self) -> None:
        """Raises h11.RemoteProtocolError, and trio's errors if the client has left."""
        while True:
            event = self._client.next_event()
            if event is h11.NEED_DATA:
                self._client.receive_data(await self._stream.receive_some(PIECE))
                continue
            if not isinstance(event, h11.Data | h11.EndOfMessage):
                return
            try:
                await self._upstream.send_all(self._server.send(event) or b"")
            except _GONE:  # the pod takes no more of it, and may have answered all the same
                await trio.sleep_forever()
            if isinstance(event, h11.EndOfMessage):
                return

    async def _until_left(self) -> None:
        """Read ahead. A client that has only ended its side waits for its answer."""
        while len(self._client.trailing_data[0]) < HEADER:
            data = await self._stream.receive_some(HEADER)
            if not data and not still_there(self._stream.socket):
                return
            self._client.receive_data(data)
            if not data:
                break
        await trio.sleep_forever()

    async def _to_client(self) -> None:
        """Pass the answer on. Raises Left, NoAnswer and Broken."""
        heard, ready = False, bytearray()
        while True:
            try:
                event = self._server.next_event()
                if event is not h11.NEED_DATA and not isinstance(event, h11.ConnectionClosed):
                    ready += self._for_client(event)
            except h11.ProtocolError as error:
                raise Broken(self._begun, error) from None
            ended = isinstance(event, h11.EndOfMessage) or self._switched
            if ready and (ended or event is h11.NEED_DATA or len(ready) > PIECE):
                try:
                    await self._stream.send_all(ready)
                except _GONE:
                    raise Left from None
                ready.clear()
            if ended:
                return
            if event is h11.NEED_DATA:
                try:
                    data = await self._upstream.receive_some(PIECE)
                except _GONE:
                    data = b""
                if not data and not heard:
                    raise NoAnswer
                heard = True
                self._server.receive_data(data)
            elif isinstance(event, h11.ConnectionClosed):
                raise Broken(self._begun, "it ended too soon")

    def _for_client(self, event: object) -> bytes:
        """The bytes of an event of the answer on the client's connection. Raises h11.LocalProtocolError."""
        match event:
            case h11.InformationalResponse(status_code=code):
                if code != _SWITCHING and (self._client.their_http_version or b"") < b"1.1":
                    return b""
                headers = http.end_to_end(event.headers.raw_items())
                if code == _SWITCHING:
                    headers += [(b"Connection", b"Upgrade"), (b"Upgrade", dict(event.headers).get(b"upgrade", b""))]
                    self._switched = True
                return (
                    self._client.send(h11.InformationalResponse(status_code=code, headers=headers, reason=event.reason))
                    or b""
                )
            case h11.Response():
                self._begun = True
                headers = http.end_to_end(event.headers.raw_items())
                answer = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
                return self._client.send(answer) or b""
            case h11.Data() | h11.EndOfMessage():
                return self._client.send(event) or b""
        raise h11.LocalProtocolError(f"{event!r} in an answer")
