"""One request over the socket of a `kubectl proxy`: HTTP/1.1, one connection for each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import h11
import trio

from kpf_supervise.kubectl.process import SHORTAGES
from kpf_supervise.model import Cause, ForwardError, Problem

_RECEIVE = 64 * 1024  # bytes at a time
# kubectl's own proxy only answers to the host names of this machine; `get --raw` accepts the same types
_HEADERS = [("Host", "localhost"), ("Accept", "application/json, */*")]


class Gone(Exception):
    """Nothing listens on the socket."""


class Cut(Exception):
    """The answer broke off before its end."""


class Answer(NamedTuple):
    """The head of an answer, and its body in pieces. Reading the body raises Cut if it ends too early."""

    begun: float  # when it was asked for
    status: int
    text: bool  # plain text, as the proxy's own errors are
    body: AsyncGenerator[bytes, None]

    @property
    def by_proxy(self) -> bool:
        """Whether kubectl itself says that it could not ask."""
        return self.status == 500 and self.text


@asynccontextmanager
async def get(
    socket: Path, target: str, heard: Callable[[], None] = lambda: None, posted: bytes = b""
) -> AsyncIterator[Answer]:
    """Send a GET of `target` (path and query), or a POST of the JSON text `posted`. Yields the answer once its head is
    there. `heard` is called whenever
    something has come. Raises Gone, Cut, or ForwardError (OTHER) if this process can open no more sockets now."""
    try:
        stream = await trio.open_unix_socket(str(socket))
    except OSError as error:
        if error.errno not in SHORTAGES:
            raise Gone from error
        step = "Close other programs, or raise the limit: ulimit -n"
        raise ForwardError(
            Problem(Cause.OTHER, f"the API server can't be asked now: {error.strerror}", step)
        ) from error
    async with stream:
        http = h11.Connection(h11.CLIENT)
        begun = trio.current_time()
        try:
            await stream.send_all(_request(http, target, posted))
            head = await _next(http, stream, heard)
        except trio.BrokenResourceError as error:
            raise Cut from error
        if not isinstance(head, h11.Response):
            raise Cut
        kind = next((value for name, value in head.headers if name == b"content-type"), b"")
        async with aclosing(_body(http, stream, heard)) as body:
            yield Answer(begun, head.status_code, kind.startswith(b"text/plain"), body)


def _request(http: h11.Connection, target: str, posted: bytes) -> bytes:
    if not posted:
        events: list[h11.Event] = [h11.Request(method="GET", target=target, headers=_HEADERS)]
    else:
        headers = [*_HEADERS, ("Content-Type", "application/json"), ("Content-Length", str(len(posted)))]
        events = [h11.Request(method="POST", target=target, headers=headers), h11.Data(data=posted)]
    return b"".join(http.send(event) or b"" for event in (*events, h11.EndOfMessage()))


async def _next(http: h11.Connection, stream: trio.SocketStream, heard: Callable[[], None]) -> object:
    """The next event. Raises Cut if the other side has closed too early, or does not speak HTTP."""
    while True:
        try:
            event = http.next_event()
        except h11.RemoteProtocolError as error:
            raise Cut from error
        if event is h11.NEED_DATA:
            try:
                http.receive_data(bytes(await stream.receive_some(_RECEIVE)))
            except trio.BrokenResourceError as error:
                raise Cut from error
            heard()
        elif not isinstance(event, h11.InformationalResponse):
            return event


async def _body(
    http: h11.Connection, stream: trio.SocketStream, heard: Callable[[], None]
) -> AsyncGenerator[bytes, None]:
    while isinstance(event := await _next(http, stream, heard), h11.Data):
        yield bytes(event.data)
