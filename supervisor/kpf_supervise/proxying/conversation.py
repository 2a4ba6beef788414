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
from kpf_supervise.proxying.exchange import Broken, Exchange, Left, NoAnswer
from kpf_supervise.proxying.ways import Answers, Upstream, Way
from kpf_supervise.serving.http import HttpClient
from kpf_supervise.text import shorten

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
        self._http = HttpClient(stream, data)
        self._listens_on = listens_on
        self._find, self._own_page, self._told = find, own_page, told
        self._kept: tuple[tuple[str, int | None], Upstream] | None = None  # of the last request

    async def run(self, greeted: Callable[[], None]) -> None:
        """Serve one request after another until the connection is to end. `greeted` is called after the first one was
        read. Raises trio.BrokenResourceError if the client has left."""

        async def serve(request: h11.Request) -> None:
            greeted()
            await self._serve(request)

        try:
            await self._http.run(serve, self._malformed)
        finally:
            await self._drop()

    async def _malformed(self, status: int, why: str) -> None:
        """What h11 says of a request that it can't read."""
        known = {431: Why.TOO_LARGE, 501: Why.COMMAND}.get(status, Why.MALFORMED)
        await self._refuse(Refused(known, f"the client's request is not HTTP: {shorten(why)}."))

    async def _serve(self, request: h11.Request) -> None:
        """Answer one request, whatever becomes of it."""
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
        rest = self._http.connection.trailing_data[0]
        with await self._find(host, port) as way:
            opened = b"HTTP/1.1 200 Connection established\r\n\r\n"
            await way.tunnel(self._stream, rest, Answers(opened=opened, refused=_last_answer))
        self._http.left = True

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
        await self._http.answer(h11.Response(status_code=200, headers=headers, reason=b"OK"), body)

    async def _refuse(self, refused: Refused) -> None:
        self._told(refused)
        await self._say(refused)

    async def _say(self, refused: Refused) -> None:
        """Answer with the reason."""
        body = f"{refused.sentence}\n".encode()
        status = refused.why.status
        answer = h11.Response(
            status_code=status, headers=http_headers(refused, len(body)), reason=status.phrase.encode()
        )
        await self._http.answer(answer, body)

    def _break_off(self) -> None:
        """End the connection so that the client does not take what it has got for the whole answer."""
        with suppress(OSError):
            self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._http.left = True

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
                reusable = await Exchange(self._http.connection, self._stream, upstream.stream, passage).run()
                return
            except NoAnswer:
                if upstream.refused is not None:
                    raise upstream.refused from None
                tries -= not used
            except Left:
                self._http.left = True
                return
            finally:
                if reusable:
                    self._kept = (passage.host, passage.port), upstream
                else:
                    await upstream.aclose()
        raise Refused(Why.BROKEN, "the pod ended the connection without an answer.")


def _last_answer(refused: Refused) -> bytes:
    """An answer to CONNECT that ends the connection."""
    body = f"{refused.sentence}\n".encode()
    headers = [*http_headers(refused, len(body)), ("Connection", "close")]
    lines = [f"HTTP/1.1 {refused.why.status} {refused.why.status.phrase}", *(f"{key}: {text}" for key, text in headers)]
    return "\r\n".join([*lines, "", ""]).encode("ascii", "replace") + body
