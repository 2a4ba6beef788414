"""The one local port of the proxy: tells SOCKS5 and HTTP apart by their first byte, and limits what a client costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from kpf_supervise.events.board import Board
from kpf_supervise.forwarding.client import address_of
from kpf_supervise.forwarding.listener import Listening
from kpf_supervise.protocols import pac, socks
from kpf_supervise.protocols.http import OwnPage
from kpf_supervise.protocols.refusal import Refused, Why
from kpf_supervise.protocols.told import Sparing
from kpf_supervise.proxying.conversation import Conversation
from kpf_supervise.proxying.directory import Directory
from kpf_supervise.proxying.ways import Answers
from kpf_supervise.serving.http import FIRST
from kpf_supervise.serving.newcomers import Newcomers

MOST = 2000  # clients that have asked for nothing yet; one more, and the oldest of them is closed
_PIECE = 4096  # bytes per read of a greeting
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
_HELP = """\
This is the proxy of kpf-supervise: it leads to the services of a Kubernetes cluster by their names.

  http://SERVICE.NAMESPACE.localhost:{port}/          in a browser, as it is
  curl --socks5-hostname {at} http://SERVICE.NAMESPACE/
  curl -x http://{at} http://SERVICE.NAMESPACE/
  http://{at}/proxy.pac          for the proxy settings of a browser or a desktop
"""


class ProxyServer:
    """Serves the clients of one listener."""

    def __init__(self, directory: Directory, board: Board) -> None:
        self._directory = directory
        self._board = board
        self._sparing = Sparing()
        self._new = Newcomers(MOST)

    async def run(self, listening: Listening) -> None:
        """Accept until cancelled, then close the listeners, and the connections that no forward has taken."""
        await trio.serve_listeners(self._accepted, listening.listeners())

    async def _accepted(self, stream: trio.SocketStream) -> None:
        """A bug ends one connection."""
        try:
            with self._new.waiting() as scope:
                await self._serve(stream, partial(self._new.greeted, scope))
        except* _GONE:
            pass  # the client has left
        except* Exception as bugs:
            self._board.bug(bugs, "a connection to the proxy")

    async def _serve(self, stream: trio.SocketStream, greeted: Callable[[], None]) -> None:
        data, asked = b"", None
        with trio.move_on_after(FIRST):
            data = bytes(await stream.receive_some(_PIECE))
            if data[:1] == socks.FIRST:
                asked = await self._read_socks(stream, data)
        match data[:1]:
            case b"":
                return
            case socks.FIRST:
                if asked is not None:
                    greeted()
                    await self._socks(stream, asked)
            case b"\x16":  # a TLS handshake
                self._tell(Refused(Why.MALFORMED, "a client speaks TLS to the proxy itself: use http:// to reach it."))
            case socks.OLD_FIRST:
                self._tell(Refused(Why.COMMAND, "a client speaks SOCKS4: use SOCKS5 with names (socks5h://)."))
                await stream.send_all(socks.OLD_REFUSED)
            case _:
                await self._converse(stream, data, greeted)

    async def _converse(self, stream: trio.SocketStream, data: bytes, greeted: Callable[[], None]) -> None:
        settings = self._directory.settings
        own = {settings.address, stream.socket.getsockname()[0]}
        find = partial(self._directory.find, peer=address_of(stream.socket))
        await Conversation(stream, data, (own, settings.port), find, self._own_page, self._tell).run(greeted)

    async def _read_socks(self, stream: trio.SocketStream, data: bytes) -> socks.Greeting | None:
        """None if the client has left, or is refused."""
        greeting = socks.Greeting()
        try:
            while True:
                if answer := greeting.receive(data):
                    await stream.send_all(answer)
                if greeting.done:
                    return greeting
                data = bytes(await stream.receive_some(_PIECE))
                if not data:
                    return None
        except Refused as refused:
            await self._refuse(stream, refused)
            return None

    async def _socks(self, stream: trio.SocketStream, asked: socks.Greeting) -> None:
        answers = Answers(opened=socks.reply(socks.SUCCEEDED), refused=socks.refusal)
        try:
            with await self._directory.find(asked.host, asked.port, address_of(stream.socket)) as way:
                await way.tunnel(stream, asked.rest, answers)
        except Refused as refused:
            await self._refuse(stream, refused)

    async def _refuse(self, stream: trio.SocketStream, refused: Refused) -> None:
        self._tell(refused)
        await stream.send_all(socks.refusal(refused))

    def _tell(self, refused: Refused) -> None:
        """A client of SOCKS sees a number at most, so the reason is told here."""
        if sentence := self._sparing.tell(refused.sentence, trio.current_time()):
            self._board.notice(f"proxy: refused: {sentence}")

    async def _own_page(self, page: OwnPage) -> tuple[str, str]:
        match page.path:
            case "/proxy.pac":
                return pac.CONTENT_TYPE, pac.pac(page.authority, await self._directory.namespaces())
            case "/":
                port = self._directory.settings.port
                return "text/plain; charset=utf-8", _HELP.format(at=page.authority, port=port)
        raise Refused(Why.NO_SUCH_NAME, "the proxy itself has two pages: / and /proxy.pac.")
