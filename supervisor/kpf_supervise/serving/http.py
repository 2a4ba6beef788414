"""The server's side of HTTP/1.1 on one connection, and how long a client may take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import h11
import trio

FIRST = 10.0  # seconds for the first request, and for the rest of each head
KEPT = 60.0  # seconds between two requests
HEADER = 64 * 1024  # bytes of a head, at most
PIECE = 256 * 1024  # bytes per read, at most
ANSWER = 30.0  # seconds for a client to read an answer of our own
_GOODBYE = 1.0  # seconds for a client to take the last answer
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class HttpClient:
    """The client at the other end of `stream`, which has sent `data` so far. `left` is for those who serve it: the
    connection is not to be used any more."""

    def __init__(self, stream: trio.SocketStream, data: bytes = b"") -> None:
        self.connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER)
        self.left = False
        self._stream = stream
        self._bodiless = False  # the last request was HEAD
        if data:
            self.connection.receive_data(data)

    async def run(
        self, serve: Callable[[h11.Request], Awaitable[None]], malformed: Callable[[int, str], Awaitable[None]]
    ) -> None:
        """Have one request served after another until the connection is to end. `malformed` gets what is to be
        answered to what is not HTTP: the status, and why. Raises trio.BrokenResourceError if the client has left."""
        connection, limit = self.connection, FIRST
        try:
            while (request := await self._next_request(limit)) is not None:
                self._bodiless = request.method == b"HEAD"
                await serve(request)
                limit = KEPT
                if self.left or connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    break
                connection.start_next_cycle()
            if connection.our_state is not h11.SWITCHED_PROTOCOL and not self.left:
                await self._say_goodbye()
        except h11.RemoteProtocolError as error:
            await malformed(error.error_status_hint, str(error))
            await self._say_goodbye()

    async def _next_request(self, limit: float) -> h11.Request | None:
        """None if the client has ended its side, or takes too long. Raises h11.RemoteProtocolError."""
        with trio.move_on_after(limit) as patience:
            while True:
                event = self.connection.next_event()
                if isinstance(event, h11.Request):
                    return event
                if event is not h11.NEED_DATA:
                    return None
                data = await self._stream.receive_some(PIECE)
                patience.deadline = min(patience.deadline, trio.current_time() + FIRST)
                self.connection.receive_data(data)
        return None

    async def answer(self, answer: h11.Response, body: bytes) -> None:
        """Send a whole answer, if one can still begin; its body only if the request was not HEAD. Raises
        trio.BrokenResourceError if the client has left, or does not read it in ANSWER seconds."""
        client = self.connection
        if client.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        if client.their_state is h11.SEND_BODY:
            client.next_event()  # a request without a body has ended; another one ends the connection
        if client.their_state is not h11.DONE:
            headers = [*answer.headers.raw_items(), (b"Connection", b"close")]
            answer = h11.Response(status_code=answer.status_code, headers=headers, reason=answer.reason)
        events: list[h11.Event] = [answer, *([] if self._bodiless else [h11.Data(data=body)]), h11.EndOfMessage()]
        with trio.move_on_after(ANSWER) as patience:
            await self._stream.send_all(b"".join(client.send(event) or b"" for event in events))
        if patience.cancelled_caught:
            raise trio.BrokenResourceError("the client does not read its answer")

    async def _say_goodbye(self) -> None:
        """Bytes that nobody has read would reset the connection, and the client would not see the last answer."""
        with trio.move_on_after(_GOODBYE), suppress(*_GONE):
            await self._stream.send_eof()
            while await self._stream.receive_some(PIECE):
                pass
