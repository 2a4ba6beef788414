"""The control socket: JSON-RPC from other programs to Handlers, and events back to those that subscribed."""

from __future__ import annotations

import os
import socket
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import trio

from kpf_supervise.control import jsonrpc
from kpf_supervise.control.handlers import Handlers
from kpf_supervise.control.jsonrpc import INTERNAL_ERROR, NOT_DONE, TOO_MANY, Lines, Refusal, Request
from kpf_supervise.control.unix_socket import peer_uid
from kpf_supervise.events import serialize
from kpf_supervise.model import Event
from kpf_supervise.primitives.boundary import unbroken
from kpf_supervise.text import quote

_MOST = 100  # connections at a time; beyond that the one that has been quiet longest makes room
_PATIENCE = 5.0  # seconds that a peer has to take what it was sent
_BRIEF = 0.1  # seconds that it has for the last word
_BEHIND = 1000  # events that may wait for a subscriber


async def serve(bound: socket.socket, handlers: Handlers) -> None:
    """Answer everybody who connects, until cancelled. Nothing that a peer does ends it, or concerns another peer."""
    connections: OrderedDict[Connection, None] = OrderedDict()  # the one that has been quiet longest comes first

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
                quiet = next((each for each in connections if not each.answering), connection)
                del connections[quiet]  # at once: the next newcomer must find another one
                quiet.dismiss(Refusal(TOO_MANY, f"more than {_MOST} connections are open; this was quiet longest"))
            await connection.run()
        except* Exception as bugs:
            handlers.board.bug(bugs, "a control connection")
        finally:
            connections.pop(connection, None)

    async def accept() -> None:
        await trio.serve_listeners(attend, [trio.SocketListener(trio.socket.from_stdlib_socket(bound.dup()))])

    await unbroken(accept, handlers.board.failing("the control socket"))


class Connection:
    """One peer. Its requests are answered in their order. `heard` is called whenever it has sent something."""

    def __init__(self, stream: trio.abc.Stream, handlers: Handlers, heard: Callable[[], None]) -> None:
        self.answering = False
        self._stream = stream
        self._steering = handlers
        self._heard = heard
        self._sending = trio.Lock()
        self._events: trio.MemoryReceiveChannel[Event] | None = None
        self._telling = False
        self._scope = trio.CancelScope()
        self._last_word: Refusal | None = None

    def dismiss(self, why: Refusal) -> None:
        self._last_word = why
        self._scope.cancel()

    async def run(self) -> None:
        """Until the peer has ended its side, takes nothing for too long, or was dismissed; closes the stream. An
        exception that nobody foresaw ends this connection alone, and is told."""
        try:
            with self._scope, ExitStack() as self._stack:
                try:
                    async with trio.open_nursery() as self._nursery:
                        await self._converse()
                        self._nursery.cancel_scope.cancel()
                except* (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass
                except* Exception as bugs:
                    self._steering.board.bug(bugs, "a control connection was closed")
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
            if lines.rest.strip():  # the last one may come without its end
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
        if self._events is not None and not self._telling:
            self._telling = True
            self._nursery.start_soon(self._tell, self._events)

    async def _answer_batch(self, requests: list[Request | Refusal]) -> None:
        """One line, of which each answer is made only when the peer has taken the one before it: a batch of a thousand
        large answers needs no more memory than one of them, and other tasks go on in between. Events wait until the
        line has ended."""
        before = b"["
        async with self._sending:
            for request in requests:
                if (answer := await self._reply(request)) is not None:
                    await self._write(before + jsonrpc.encode(answer).removesuffix(b"\n"))
                    before = b","
            if before == b",":  # of notifications alone nothing is answered
                await self._write(b"]\n")

    async def _reply(self, request: Request | Refusal) -> dict[str, Any] | None:
        await trio.lowlevel.checkpoint()  # not every call awaits something, and a notification's answer is not sent
        if isinstance(request, Refusal):
            return jsonrpc.error(request)
        try:
            value = await self._steering.call(request.method, request.params)
            if request.method == "subscribe" and self._events is None:  # nothing is awaited since the snapshot
                self._events = self._stack.enter_context(self._steering.board.subscription(_BEHIND))
        except Refusal as refusal:
            return None if request.silent else jsonrpc.error(refusal, request.id)
        except Exception as error:  # a bug: this request's error, and nobody else's
            told = Refusal(INTERNAL_ERROR, self._steering.board.bug(error, f"the call {quote(request.method)}"))
            return None if request.silent else jsonrpc.error(told, request.id)
        return None if request.silent else jsonrpc.result(request.id, value)

    async def _tell(self, events: trio.MemoryReceiveChannel[Event]) -> None:
        """Pass the events on, each with the forward as it is now (null once it is no longer listed). A subscriber that
        is too far behind is dropped."""
        statuses = self._steering.board.statuses
        async for event in events:
            status = statuses.get(event.forward or "")
            facts = serialize.event(event) | {"portForward": serialize.port_forward(status) if status else None}
            await self._send(jsonrpc.call("event", facts))
        self._scope.cancel()

    async def _send(self, message: Any) -> None:
        async with self._sending:
            await self._write(jsonrpc.encode(message))

    async def _write(self, data: bytes) -> None:
        """With `_sending` held. A peer that does not take it in time is dropped."""
        with trio.move_on_after(_PATIENCE) as patience:
            await self._stream.send_all(data)
        if patience.cancelled_caught:
            self._scope.cancel()
