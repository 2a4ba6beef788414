"""A port-forward session: SPDY streams from kubectl. Each pair of streams is one connection into a pod."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from kpf_supervise.sandbox import spdy
from kpf_supervise.sandbox.faults import Faults
from kpf_supervise.sandbox.kubelet import DialError, Sandbox
from kpf_supervise.sandbox.pipe import PipeEnd
from kpf_supervise.sandbox.timing import Timing
from kpf_supervise.sandbox.transport import Transport

CHUNK = 64 * 1024  # bytes of payload in one DATA frame
QUEUE = 16  # DATA frames buffered for a slow pod before the whole session blocks, as in spdystream


@dataclass(slots=True)
class Pair:
    """The error stream and the data stream of one connection."""

    error: int
    data: int = 0
    port: int = 0
    uploads: trio.MemorySendChannel[bytes] | None = None  # data from kubectl to the pod
    connection: PipeEnd | None = None  # once it is dialled
    reset: trio.Event = field(default_factory=trio.Event)  # kubectl reset it (1.32+: always at the end)


class Tunnel:
    """One upgraded connection, pinned to one sandbox of the container runtime for its lifetime."""

    def __init__(self, transport: Transport, sandbox: Sandbox, faults: Faults, timing: Timing) -> None:
        self._transport = transport
        self._sandbox = sandbox
        self._faults = faults
        self._timing = timing
        self._spdy = spdy.Connection()
        self._session = trio.CancelScope()
        self._lock = trio.Lock()  # compressed headers must be written in the order in which they were compressed
        self._waiting: dict[str, Pair] = {}  # by requestid: error streams still without a data stream
        self._pairs: dict[int, Pair] = {}  # by data stream

    async def run(self) -> None:
        """Serve until kubectl ends the session or the transport breaks; never raises for either.

        The session survives the pod: later connections fail, each with a text on its error stream.
        """
        with self._session:
            async with trio.open_nursery() as nursery:
                with suppress(trio.BrokenResourceError, spdy.ProtocolError):
                    while chunk := await self._transport.receive():
                        for event in self._spdy.receive(chunk):
                            await self._handle(event, nursery)
                self._session.cancel()

    async def _send(self, *parts: bytes | memoryview) -> None:
        async with self._lock:
            await self._write(b"".join(parts))

    async def _write(self, data: bytes) -> None:
        try:
            await self._transport.send(data)
        except trio.BrokenResourceError:
            self._session.cancel()

    async def _handle(self, event: spdy.Event, nursery: trio.Nursery) -> None:
        match event:
            case spdy.SynStream(stream, headers):
                if not self._faults.no_reply:
                    async with self._lock:
                        await self._write(self._spdy.syn_reply(stream, {}))
                    self._open(stream, headers, nursery)
            case spdy.Data(stream, data, fin) if stream in self._pairs:
                await self._upload(self._pairs[stream], data, fin)
            case spdy.RstStream(stream) if stream in self._pairs:
                self._reset(self._pairs[stream])
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

    def _reset(self, pair: Pair) -> None:
        pair.reset.set()
        if pair.uploads:
            pair.uploads.close()
        if pair.connection:
            pair.connection.close()

    async def _serve(self, pair: Pair, uploads: trio.MemoryReceiveChannel[bytes]) -> None:
        """Serve one connection from its dial to the FINs."""
        with uploads:
            error = await self._connect(pair, uploads)
            del self._pairs[pair.data]
            fin_data = b"" if pair.reset.is_set() else spdy.data(pair.data, b"", fin=True)
            if error:
                await self._send(spdy.data(pair.error, error.encode(), fin=True), fin_data)
            else:  # in this order: kubectl ends the local connection when the error stream ends
                await self._send(fin_data, spdy.data(pair.error, b"", fin=True))

    async def _connect(self, pair: Pair, uploads: trio.MemoryReceiveChannel[bytes]) -> str | None:
        """Dial and copy. Returns the text for the error stream if dialing failed."""
        if self._faults.swallow:
            async for _ in uploads:
                pass
            await pair.reset.wait()
            return None
        if pair.reset.is_set():
            return None
        text = self._faults.error_of(self._sandbox.pod, pair.port)
        try:
            if text is not None:
                raise DialError(text)
            refuse = self._faults.refuses(self._sandbox.pod, pair.port)
            pair.connection = self._sandbox.dial(pair.port, refuse)
        except DialError as error:
            return f"error forwarding port {pair.port} to pod {self._sandbox.id}, uid : {error}"
        async with pair.connection:
            await self._copy(pair, uploads, pair.connection)
        return None

    async def _copy(self, pair: Pair, uploads: trio.MemoryReceiveChannel[bytes], connection: PipeEnd) -> None:
        """Copy both directions until the pod closes its side or kubectl resets the stream.

        Any other end closes the connection and cancels nothing, because a frame must not be cut in the middle.
        """
        linger = self._timing.linger
        uploaded = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._to_pod, uploads, connection, uploaded)
            with suppress(trio.ClosedResourceError):
                while chunk := await connection.receive_chunk():
                    for at in range(0, len(chunk), CHUNK):
                        part = chunk[at : at + CHUNK]
                        await self._send(spdy.data_head(pair.data, len(part)), part)
                if linger is not None:
                    with trio.move_on_after(linger):
                        await uploaded.wait()
            nursery.cancel_scope.cancel()

    async def _to_pod(
        self, uploads: trio.MemoryReceiveChannel[bytes], connection: PipeEnd, uploaded: trio.Event
    ) -> None:
        """Copy data from kubectl, and pass on its end (see Timing.linger)."""
        linger = self._timing.linger
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in uploads:
                await connection.send_all(data)
            if linger is None:
                await connection.send_eof()
        uploaded.set()
        if linger is not None:
            await trio.sleep(linger)
            connection.close()
