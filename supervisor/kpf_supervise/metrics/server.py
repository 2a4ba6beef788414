"""The local port of the metrics: HTTP for Prometheus, and a limit on what a client costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus

import h11
import trio
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from kpf_supervise.events.board import Board
from kpf_supervise.forwarding.listener import Listening
from kpf_supervise.metrics.collect import Facts, families
from kpf_supervise.metrics.pages import INDEX, Page, accepted, page
from kpf_supervise.protocols.refusal import Refused
from kpf_supervise.serving.http import HttpClient
from kpf_supervise.serving.newcomers import Newcomers
from kpf_supervise.text import shorten

MOST = 20  # clients; one more, and the oldest is closed
_TEXT = "text/plain; charset=utf-8"
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)

Encoder = Callable[[Collector], bytes]


class MetricsServer:
    """Serves the clients of one listener. `facts` reads what there is to tell."""

    def __init__(self, facts: Callable[[], Facts], board: Board) -> None:
        self._facts, self._board = facts, board
        self._clients = Newcomers(MOST)

    async def run(self, listening: Listening) -> None:
        """Serve until cancelled, then close the listeners and the connections."""
        await trio.serve_listeners(self._accepted, listening.listeners())

    async def _accepted(self, stream: trio.SocketStream) -> None:
        """A bug ends one connection."""
        try:
            with self._clients.waiting():
                await self._converse(HttpClient(stream))
        except* _GONE:
            pass  # the client has left
        except* Exception as bugs:
            self._board.bug(bugs, "a request for the metrics")

    async def _converse(self, client: HttpClient) -> None:
        async def serve(request: h11.Request) -> None:
            try:
                found = page(request)
            except Refused as refused:
                await _answer(client, refused.why.status, _TEXT, f"{refused.sentence}\n".encode())
                return
            if found is Page.INDEX:
                await _answer(client, HTTPStatus.OK, "text/html; charset=utf-8", INDEX.encode())
            else:
                encode, kind = encoder(accepted(request))
                await _answer(client, HTTPStatus.OK, kind, await written(self._facts(), encode))

        async def malformed(status: int, why: str) -> None:
            sentence = f"the request is not HTTP: {shorten(why)}.\n"
            await _answer(client, HTTPStatus(status), _TEXT, sentence.encode())

        await client.run(serve, malformed)


async def _answer(client: HttpClient, status: HTTPStatus, kind: str, body: bytes) -> None:
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("X-Content-Type-Options", "nosniff")]
    await client.answer(h11.Response(status_code=status, headers=headers, reason=status.phrase.encode()), body)


def encoder(accept: str) -> tuple[Encoder, str]:
    """OpenMetrics or Prometheus' older text, with the content type of that. A version that is none gets the latter."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        return choose_encoder("")


async def written(facts: Facts, encode: Encoder) -> bytes:
    """All metrics. Others have their turn meanwhile: a thousand forwards are megabytes."""
    end, before = encode(_Only()), ""
    pieces = []
    for part in families(facts):
        lines = encode(_Only(part)).removesuffix(end).splitlines(keepends=True)
        pieces += [line for line in lines if part.name != before or not line.startswith(b"#")]
        before = part.name
        await trio.lowlevel.checkpoint()
    return b"".join([*pieces, end])


class _Only(Collector):
    """A registry with these metrics."""

    def __init__(self, *metrics: Metric) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)
