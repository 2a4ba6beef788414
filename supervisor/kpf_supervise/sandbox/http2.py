"""One HTTP/2 connection of the API server: many requests at a time. Upgrades are for HTTP/1.1, as every
client knows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import trio
from hyperframe.frame import GoAwayFrame

from kpf_supervise.sandbox.http import RECEIVE, Answer, BrokenOff, Request, Response, Streamed, Upgrade


@dataclass(slots=True)
class Stream:
    """One request, and the task that answers it."""

    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)
    window: trio.Event = field(default_factory=trio.Event)  # set and replaced when the client takes more data
    task: trio.CancelScope = field(default_factory=trio.CancelScope)


class Http2Connection:
    """Serves one connection. `handle` returns the answer to each request. Pings are answered as they come."""

    def __init__(self, stream: trio.abc.Stream, handle: Callable[[Request], Awaitable[Answer]]) -> None:
        self._stream = stream
        self._handle = handle
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self._streams: dict[int, Stream] = {}
        self._last = 0  # the highest stream that was begun
        self._frames = b""  # to send before what h2 has to send
        self._unsent = trio.Event()
        self._draining = False

    def drain(self) -> None:
        """Take no more requests, and end when those under way are answered."""
        if not self._draining:
            self._draining = True
            # h2 sends no data after a GOAWAY of its own
            self._frames += self._h2.data_to_send() + GoAwayFrame(last_stream_id=self._last).serialize()
            self._unsent.set()

    async def serve(self) -> None:
        """Return when either side has closed or an answer broke off. The caller closes the stream."""
        self._h2.initiate_connection()
        self._unsent.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, nursery.cancel_scope)
            with suppress(trio.BrokenResourceError, h2.exceptions.ProtocolError):
                while data := await self._stream.receive_some(RECEIVE):
                    for event in self._h2.receive_data(bytes(data)):
                        self._received(event, nursery)
                    self._unsent.set()
            nursery.cancel_scope.cancel()

    async def _write(self, connection: trio.CancelScope) -> None:
        """The only one that sends, so that no frame is cut when a request's task is cancelled."""
        with suppress(trio.BrokenResourceError):
            while True:
                self._unsent = trio.Event()
                frames, self._frames = self._frames, b""
                if data := frames + self._h2.data_to_send():
                    await self._stream.send_all(data)
                elif self._draining and not self._streams:
                    break
                else:
                    await self._unsent.wait()
        connection.cancel()

    def _received(self, event: h2.events.Event, nursery: trio.Nursery) -> None:
        match event:
            case h2.events.RequestReceived(stream_id=id, headers=headers):
                if self._draining:
                    self._h2.reset_stream(id, h2.errors.ErrorCodes.REFUSED_STREAM)
                    return
                self._last = id
                self._streams[id] = Stream({str(name): str(value) for name, value in headers})
            case h2.events.DataReceived(stream_id=id, data=data, flow_controlled_length=length):
                self._h2.acknowledge_received_data(length, id)
                if id in self._streams:
                    self._streams[id].body += data
            case h2.events.StreamEnded(stream_id=id) if id in self._streams:
                nursery.start_soon(self._answer, id, self._streams[id], nursery.cancel_scope)
            case h2.events.StreamReset(stream_id=id) if stream := self._streams.pop(id, None):
                stream.task.cancel()
            case h2.events.WindowUpdated() | h2.events.RemoteSettingsChanged():
                for stream in self._streams.values():
                    stream.window.set()
                    stream.window = trio.Event()

    async def _answer(self, id: int, stream: Stream, connection: trio.CancelScope) -> None:
        method, target = stream.headers.pop(":method"), stream.headers.pop(":path")
        headers = {name.lstrip(":"): value for name, value in stream.headers.items()}
        request = Request.of(method, target, headers, bytes(stream.body), "HTTP/2")
        try:
            with stream.task, suppress(h2.exceptions.ProtocolError):  # the client has just given up on it
                await self._respond(id, await self._handle(request))
        except BrokenOff:
            connection.cancel()
        self._streams.pop(id, None)
        self._unsent.set()

    async def _respond(self, id: int, answer: Answer) -> None:
        match answer:
            case Response():
                kind, data = answer.encoded()
                size = str(len(data))
                self._h2.send_headers(
                    id, [(":status", str(answer.status)), ("content-type", kind), ("content-length", size)]
                )
                await self._send(id, data)
            case Streamed(chunks):
                self._h2.send_headers(id, [(":status", "200"), ("content-type", "application/json")])
                self._unsent.set()
                async with aclosing(chunks):
                    async for chunk in chunks:
                        await self._send(id, chunk)
            case Upgrade():
                self._h2.reset_stream(id, h2.errors.ErrorCodes.HTTP_1_1_REQUIRED)
                return
        self._h2.end_stream(id)
        self._unsent.set()

    async def _send(self, id: int, data: bytes) -> None:
        """Queue the data for `_write`, as far as the client lets it come."""
        while data:
            room = min(self._h2.local_flow_control_window(id), self._h2.max_outbound_frame_size)
            if room <= 0:
                await self._streams[id].window.wait()
                continue
            piece, data = data[:room], data[room:]
            self._h2.send_data(id, piece)
            self._unsent.set()
