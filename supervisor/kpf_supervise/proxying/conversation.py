"""One client that speaks HTTP to the proxy: each of its requests is sent to the host that it names."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

import h11
import trio

from kpf_supervise.protocols import http
from kpf_supervise.protocols.refusal import Refused, Why, http_headers
from kpf_supervise.proxying.exchange import HEADER, PIECE, Broken, Exchange, Left, NoAnswer
from kpf_supervise.proxying.ways import Answers, Upstream, Way
from kpf_supervise.text import shorten

FIRST = 10.0  # seconds for the first request, and for the rest of each head
KEPT = 60.0  # seconds between two requests
_GOODBYE = 1.0  # seconds for a client to take the last answer
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)

Find = Callable[[str, int | None], Awaitable[Way]]
OwnPages = Callable[[http.OwnPage], Awaitable[tuple[str, str]]]


class Conversation:
    """`find` raises Refused. `own_page` gives the content type and the text of a page of the proxy itself, and raises
    Refused. `told` gets each refusal."""

    def __init__(
        self,
        stream: trio.SocketStream,
        data: bytes,
        listens_on: tuple[Collection[str], int],
        find: Find,
        own_page: OwnPages,
        told: Callable[[Refused], None],
    ) -> None:
        self._stream = stream
        self._client = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER)
        if data:
            self._client.receive_data(data)
        self._listens_on = listens_on
        self._find, self._own_page, self._told = find, own_page, told
        self._kept: tuple[tuple[str, int | None], Upstream] | None = None  # of the last request
        self._left = False  # the client is gone
        self._bodiless = False  # the last request was HEAD

    async def run(self, greeted: Callable[[], None]) -> None:
        """Serve one request after another until the connection is to end. `greeted` is called after the first one was
        read. Raises trio.BrokenResourceError if the client has left."""
        try:
            limit = FIRST
            while (request := await self._next_request(limit)) is not None:
                greeted()
                await self._serve(request)
                client, limit = self._client, KEPT
                if self._left or client.our_state is not h11.DONE or client.their_state is not h11.DONE:
                    break
                client.start_next_cycle()
            if self._client.our_state is not h11.SWITCHED_PROTOCOL and not self._left:
                await self._say_goodbye()
        except h11.RemoteProtocolError as error:
            await self._refuse(
                Refused(_why(error.error_status_hint), f"the client's request is not HTTP: {shorten(str(error))}.")
            )
            await self._say_goodbye()
        finally:
            await self._drop()

    async def _next_request(self, limit: float) -> h11.Request | None:
        """None if the client has ended its side, or takes too long. Raises h11.RemoteProtocolError."""
        with trio.move_on_after(limit) as patience:
            while True:
                event = self._client.next_event()
                if isinstance(event, h11.Request):
                    return event
                if event is not h11.NEED_DATA:
                    return None
                data = await self._stream.receive_some(PIECE)
                patience.deadline = min(patience.deadline, trio.current_time() + FIRST)
                self._client.receive_data(data)
        return None

    async def _serve(self, request: h11.Request) -> None:
        """Answer one request, whatever becomes of it."""
        self._bodiless = request.method == b"HEAD"
        try:
            match http.route(request, *self._listens_on):
                case http.Tunnel(host, port):
                    await self._tunnel(host, port)
                case http.OwnPage() as page:
                    await self._show(request, page)
                case http.Passage() as passage:
                    with await self._find(passage.host, passage.port) as way:
                        await self._pass_on(way, passage)
        except Refused as refused:
            await self._refuse(refused)
        except Broken as broken:
            if broken.begun:
                self._break_off()
            else:
                await self._refuse(Refused(Why.BROKEN, f"the pod's answer is not HTTP: {shorten(str(broken))}."))

    async def _tunnel(self, host: str, port: int) -> None:
        """Raises Refused."""
        rest = self._client.trailing_data[0]
        with await self._find(host, port) as way:
            opened = b"HTTP/1.1 200 Connection established\r\n\r\n"
            await way.tunnel(self._stream, rest, Answers(opened=opened, refused=_last_answer))
        self._left = True

    async def _show(self, request: h11.Request, page: http.OwnPage) -> None:
        """A refusal is not told beside: nobody was to be connected."""
        try:
            if request.method not in (b"GET", b"HEAD"):
                raise Refused(Why.COMMAND, "this page can only be read.")
            kind, text = await self._own_page(page)
        except Refused as refused:
            await self._say(refused)
            return
        body = text.encode()
        headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
        await self._answer(h11.Response(status_code=200, headers=headers, reason=b"OK"), body)

    async def _refuse(self, refused: Refused) -> None:
        self._told(refused)
        await self._say(refused)

    async def _say(self, refused: Refused) -> None:
        """Answer with the reason, if an answer can still begin."""
        if self._client.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = f"{refused.sentence}\n".encode()
        status = refused.why.status
        answer = h11.Response(
            status_code=status, headers=http_headers(refused, len(body)), reason=status.phrase.encode()
        )
        await self._answer(answer, body)

    async def _answer(self, answer: h11.Response, body: bytes) -> None:
        if self._client.their_state is h11.SEND_BODY:
            self._client.next_event()  # a request without a body has ended; another one ends the connection
        if self._client.their_state is not h11.DONE:
            headers = [*answer.headers.raw_items(), (b"Connection", b"close")]
            answer = h11.Response(status_code=answer.status_code, headers=headers, reason=answer.reason)
        events: list[h11.Event] = [answer, *([] if self._bodiless else [h11.Data(data=body)]), h11.EndOfMessage()]
        await self._stream.send_all(b"".join(self._client.send(event) or b"" for event in events))

    async def _say_goodbye(self) -> None:
        """Bytes that nobody has read would reset the connection, and the client would not see the last answer."""
        with trio.move_on_after(_GOODBYE), suppress(*_GONE):
            await self._stream.send_eof()
            while await self._stream.receive_some(PIECE):
                pass

    def _break_off(self) -> None:
        """End the connection so that the client does not take what it has got for the whole answer."""
        with suppress(OSError):
            self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._left = True

    async def _drop(self) -> None:
        if self._kept is not None:
            (_, upstream), self._kept = self._kept, None
            await upstream.aclose()

    async def _connect(self, way: Way, passage: http.Passage) -> tuple[Upstream, bool]:
        """A connection, and whether it was used before. Only a request that may be sent twice goes over one that was:
        the pod may just have closed it. Any other one goes over a new connection, which the forward itself can still
        move to the next pod. Raises Refused."""
        kept = self._kept
        if kept is not None and kept[0] == (passage.host, passage.port) and passage.again and kept[1].is_quiet():
            self._kept = None
            return kept[1], True
        await self._drop()
        return await way.connect(), False

    async def _pass_on(self, way: Way, passage: http.Passage) -> None:
        """Send the request on, and the answer back. Raises Refused, Broken and h11.RemoteProtocolError."""
        tries = 2 if passage.again else 1
        while tries:
            upstream, used = await self._connect(way, passage)
            reusable = False
            try:
                reusable = await Exchange(self._client, self._stream, upstream.stream, passage).run()
                return
            except NoAnswer:
                if upstream.refused is not None:
                    raise upstream.refused from None
                tries -= not used
            except Left:
                self._left = True
                return
            finally:
                if reusable:
                    self._kept = (passage.host, passage.port), upstream
                else:
                    await upstream.aclose()
        raise Refused(Why.BROKEN, "the pod ended the connection without an answer.")


def _why(status: int) -> Why:
    """What h11 says of a request that it can't read."""
    known = {431: Why.TOO_LARGE, 501: Why.COMMAND}
    return known.get(status, Why.MALFORMED)


def _last_answer(refused: Refused) -> bytes:
    """An answer to CONNECT that ends the connection."""
    body = f"{refused.sentence}\n".encode()
    headers = [*http_headers(refused, len(body)), ("Connection", "close")]
    lines = [f"HTTP/1.1 {refused.why.status} {refused.why.status.phrase}", *(f"{key}: {text}" for key, text in headers)]
    return "\r\n".join([*lines, "", ""]).encode("ascii", "replace") + body
