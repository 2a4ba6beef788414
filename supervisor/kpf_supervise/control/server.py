"""The server of the control socket: JSON-RPC calls go to Handlers, and events to the clients that subscribed."""

from __future__ import annotations

import os
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import trio

from kpf_supervise.control import jsonrpc
from kpf_supervise.control.changes import Changes
from kpf_supervise.control.handlers import Handlers
from kpf_supervise.control.jsonrpc import INTERNAL_ERROR, NOT_DONE, TOO_MANY, Lines, Refusal, Request
from kpf_supervise.events import serialize
from kpf_supervise.model import Event
from kpf_supervise.primitives.boundary import unbroken
from kpf_supervise.primitives.unix_peer import peer_uid
from kpf_supervise.text import quote

_MOST = 100  # open connections; beyond that, the one that has been idle the longest is closed
_PATIENCE = 5.0  # seconds that a peer has to receive what was sent
_BRIEF = 0.1  # seconds that it has to receive the last message
_COUNT = 1.0  # seconds between two looks at the counters
_BEHIND = 10_000  # events that may be queued for a subscriber: a thousand services may be listed at once


async def serve(bound: socket.socket, handlers: Handlers) -> None:
    """Answer all clients until cancelled. Nothing that a client does ends the server or affects another client."""
    connections: OrderedDict[Connection, None] = OrderedDict()  # the one that has been idle the longest comes first

    async def attend(stream: trio.SocketStream) -> None:
        def heard() -> None:
            if connection in connections:
                connections.move_to_end(connection)

        connection = Connection(stream, handlers, heard)
        connections[connection] = None
        try:
            if peer_uid(stream.socket) != os.getuid():
                connection.dismiss(Refusal(NOT_DONE, "this instance belongs to another user"))
            elif len(connections) > _MOST:
                idle = next((each for each in connections if not each.answering), connection)
                del connections[idle]  # at once: the next connection must find another one
                idle.dismiss(
                    Refusal(TOO_MANY, f"more than {_MOST} connections are open; this one was idle the longest")
                )
            await connection.run()
        except* Exception as bugs:
            handlers.board.bug(bugs, "a control connection")
        finally:
            connections.pop(connection, None)

    async def accept() -> None:
        await trio.serve_listeners(attend, [trio.SocketListener(trio.socket.from_stdlib_socket(bound.dup()))])

    await unbroken(accept, handlers.board.failing("the control socket"))


class Connection:
    """The connection of one peer. Its requests are answered in order. `heard` is called when it has sent something."""

    def __init__(self, stream: trio.abc.Stream, handlers: Handlers, heard: Callable[[], None]) -> None:
        self.answering = False
        self._stream = stream
        self._handlers = handlers
        self._heard = heard
        self._sending = trio.Lock()
        self._events: trio.MemoryReceiveChannel[Event] | None = None
        self._counters: Changes | None = None
        self._due: list[Callable[[], Awaitable[None]]] = []  # what begins once the answer is sent
        self._scope = trio.CancelScope()
        self._last_word: Refusal | None = None

    def dismiss(self, why: Refusal) -> None:
        self._last_word = why
        self._scope.cancel()

    async def run(self) -> None:
        """Serve the peer until it closes its side, stops receiving for too long, or is dismissed. Closes the stream. An
        unexpected exception ends only this connection, and is reported."""
        try:
            with self._scope, ExitStack() as self._stack:
                try:
                    async with trio.open_nursery() as self._nursery:
                        await self._converse()
                        self._nursery.cancel_scope.cancel()
                except* (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass
                except* Exception as bugs:
                    self._handlers.board.bug(bugs, "a control connection was closed")
            if self._last_word is not None:
                with trio.move_on_after(_BRIEF), suppress(trio.BrokenResourceError):
                    await self._stream.send_all(jsonrpc.encode(jsonrpc.error(self._last_word)))
        finally:
            await trio.aclose_forcefully(self._stream)

    async def _converse(self) -> None:
        lines = Lines()
        try:
            async for data in self._stream:
                self._heard()
                for line in lines.feed(data):
                    await self._answer(line)
            if lines.rest.strip():  # the last line may come without a newline
                await self._answer(lines.rest)
        except Refusal as refusal:
            self._last_word = refusal

    async def _answer(self, line: bytes) -> None:
        self.answering = True
        read = jsonrpc.read(line)
        if isinstance(read, list):
            await self._answer_batch(read)
        elif (answer := await self._reply(read)) is not None:
            await self._send(answer)
        self.answering = False
        while self._due:
            self._nursery.start_soon(self._due.pop())

    async def _answer_batch(self, requests: list[Request | Refusal]) -> None:
        """Send one line. Each answer is made only after the peer has received the previous one: a batch of a thousand
        large answers needs no more memory than one of them, and other tasks run in between. Events wait until the
        line is complete."""
        before = b"["
        async with self._sending:
            for request in requests:
                if (answer := await self._reply(request)) is not None:
                    await self._write(before + jsonrpc.encode(answer).removesuffix(b"\n"))
                    before = b","
            if before == b",":  # a batch of only notifications gets no answer
                await self._write(b"]\n")

    async def _reply(self, request: Request | Refusal) -> dict[str, Any] | None:
        await trio.lowlevel.checkpoint()  # not every call awaits something, and a notification sends no answer
        if isinstance(request, Refusal):
            return jsonrpc.error(request)
        try:
            value = await self._handlers.call(request.method, request.params)
            if request.method == "subscribe":  # nothing was awaited since the snapshot
                self._subscribe(request.params.get("counters", False))
        except Refusal as refusal:
            return None if request.silent else jsonrpc.error(refusal, request.id)
        except Exception as error:  # a bug: an error of this request only
            told = Refusal(INTERNAL_ERROR, self._handlers.board.bug(error, f"the call {quote(request.method)}"))
            return None if request.silent else jsonrpc.error(told, request.id)
        return None if request.silent else jsonrpc.result(request.id, value)

    def _subscribe(self, counters: bool) -> None:
        """A second call of it only adds what is not sent yet."""
        board = self._handlers.board
        if self._events is None:
            self._events = self._stack.enter_context(board.subscription(_BEHIND))
            self._due.append(partial(self._tell, self._events))
        if counters and self._counters is None:
            self._counters = Changes(board.statuses, trio.current_time())
            self._due.append(partial(self._count, self._counters))

    async def _tell(self, events: trio.MemoryReceiveChannel[Event]) -> None:
        """Send the events, each with the forward as it is now (null if it is no longer listed). A subscriber that is
        too far behind is dropped."""
        statuses = self._handlers.board.statuses
        async for event in events:
            status = statuses.get(event.forward or "")
            facts = serialize.event(event) | {"portForward": serialize.port_forward(status) if status else None}
            await self._send(jsonrpc.call("event", facts))
        self._scope.cancel()

    async def _count(self, counters: Changes) -> None:
        """Send the forwards whose counters have changed, once a second."""
        while True:
            await trio.sleep(_COUNT)
            seconds, changed = counters.look(trio.current_time())
            facts = {"seconds": round(seconds, 3), "portForwards": list(map(serialize.port_forward, changed))}
            await self._send(jsonrpc.call("counters", facts))

    async def _send(self, message: Any) -> None:
        async with self._sending:
            await self._write(jsonrpc.encode(message))

    async def _write(self, data: bytes) -> None:
        """The caller holds `_sending`. A peer that does not receive the data in time is dropped."""
        with trio.move_on_after(_PATIENCE) as patience:
            await self._stream.send_all(data)
        if patience.cancelled_caught:
            self._scope.cancel()
