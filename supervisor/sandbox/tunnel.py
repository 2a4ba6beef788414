"""A port-forward session: SPDY streams from kubectl, each pair of them one connection into a pod."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import trio

from supervisor.sandbox import spdy
from supervisor.sandbox.faults import Faults
from supervisor.sandbox.kubelet import DialError, Sandbox
from supervisor.sandbox.pipe import PipeEnd
from supervisor.sandbox.timing import Timing
from supervisor.sandbox.transport import Transport

CHUNK = 64 * 1024  # bytes of payload in one DATA frame
QUEUE = 16  # DATA frames that wait for a slow pod before the whole session waits, as in spdystream


@dataclass(slots=True)
class Pair:
    """The error stream and the data stream of one connection."""

    error: int
    data: int = 0
    port: int = 0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    uploads: trio.MemorySendChannel[bytes] | None = None  # what kubectl sent, on its way to the pod


class Tunnel:
    """One upgraded connection, pinned to one sandbox of the container runtime for as long as it lasts."""

    def __init__(self, transport: Transport, sandbox: Sandbox, faults: Faults, timing: Timing) -> None:
        self._transport = transport
        self._sandbox = sandbox
        self._faults = faults
        self._timing = timing
        self._spdy = spdy.Connection()
        self._lock = trio.Lock()  # compressed headers must be written in the order in which they were compressed
        self._waiting: dict[str, Pair] = {}  # by requestid: error streams whose data stream is to come
        self._pairs: dict[int, Pair] = {}  # by data stream

    async def run(self) -> None:
        """Serve until kubectl ends the session or the transport breaks; never raises for either.

        The pod's end doesn't end it: later connections fail, each with a text on its error stream.
        """
        async with trio.open_nursery() as nursery:
            try:
                while chunk := await self._transport.receive():
                    for event in self._spdy.receive(chunk):
                        await self._handle(event, nursery)
            except (trio.BrokenResourceError, spdy.ProtocolError):
                pass
            nursery.cancel_scope.cancel()

    async def _send(self, *parts: bytes | memoryview) -> None:
        async with self._lock:
            await self._transport.send(b"".join(parts))

    async def _handle(self, event: spdy.Event, nursery: trio.Nursery) -> None:
        match event:
            case spdy.SynStream(stream, headers):
                if not self._faults.no_reply:
                    async with self._lock:
                        await self._transport.send(self._spdy.syn_reply(stream, {}))
                    self._open(stream, headers, nursery)
            case spdy.Data(stream, data, fin) if stream in self._pairs:
                await self._upload(self._pairs[stream], data, fin)
            case spdy.RstStream(stream) if stream in self._pairs:
                self._pairs[stream].scope.cancel()
            case spdy.Ping(id):
                await self._send(spdy.ping(id))

    def _open(self, stream: int, headers: Mapping[str, str], nursery: trio.Nursery) -> None:
        request = headers.get("requestid", "")
        if headers.get("streamtype") == "error":
            self._waiting[request] = Pair(error=stream)
        elif pair := self._waiting.pop(request, None):
            pair.data, pair.port = stream, int(headers["port"])
            pair.uploads, receive = trio.open_memory_channel[bytes](QUEUE)
            self._pairs[stream] = pair
            nursery.start_soon(self._serve, pair, receive)

    async def _upload(self, pair: Pair, data: bytes, fin: bool) -> None:
        assert pair.uploads is not None
        try:
            if data:
                await pair.uploads.send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the pod has closed; kubectl may not know yet
        if fin:
            pair.uploads.close()

    async def _serve(self, pair: Pair, uploads: trio.MemoryReceiveChannel[bytes]) -> None:
        """One connection from its dial to the FINs; returns early when kubectl resets it or is gone."""
        try:
            with pair.scope, uploads:
                error = await self._connect(pair, uploads)
                if error:
                    await self._send(
                        spdy.data(pair.error, error.encode(), fin=True), spdy.data(pair.data, b"", fin=True)
                    )
                else:  # in this order: kubectl ends the local connection when the error stream ends
                    await self._send(spdy.data(pair.data, b"", fin=True), spdy.data(pair.error, b"", fin=True))
        except trio.BrokenResourceError:
            pass  # the reader will see it too and end the session
        finally:
            del self._pairs[pair.data]

    async def _connect(self, pair: Pair, uploads: trio.MemoryReceiveChannel[bytes]) -> str | None:
        """Dial and copy; the text for the error stream if it could not be dialled."""
        if self._faults.swallow:
            async for _ in uploads:
                pass
            await trio.sleep_forever()
        text = self._faults.error_of(self._sandbox.pod, pair.port)
        try:
            if text is not None:
                raise DialError(text)
            connection = self._sandbox.dial(pair.port, refuse=self._faults.refuses(self._sandbox.pod, pair.port))
        except DialError as error:
            return f"error forwarding port {pair.port} to pod {self._sandbox.id}, uid : {error}"
        async with connection:
            await self._copy(pair, uploads, connection)
        return None

    async def _copy(self, pair: Pair, uploads: trio.MemoryReceiveChannel[bytes], connection: PipeEnd) -> None:
        """Both directions, until the pod has closed its side (see Timing.linger for what else ends it)."""
        linger = self._timing.linger
        async with trio.open_nursery() as nursery:

            def one_ended() -> None:
                nursery.cancel_scope.deadline = trio.current_time() + (linger or 0)

            nursery.start_soon(self._to_pod, uploads, connection, one_ended if linger is not None else None)
            while chunk := await connection.receive_chunk():
                for at in range(0, len(chunk), CHUNK):
                    part = chunk[at : at + CHUNK]
                    await self._send(spdy.data_head(pair.data, len(part)), part)
            one_ended()

    async def _to_pod(
        self, uploads: trio.MemoryReceiveChannel[bytes], connection: PipeEnd, ended: Callable[[], None] | None
    ) -> None:
        try:
            async for data in uploads:
                await connection.send_all(data)
            if ended is None:
                await connection.send_eof()
        except trio.BrokenResourceError:
            return  # the pod has closed
        if ended is not None:
            ended()
