"""The network between kubectl and the API server: how far they are apart, and whether packets get through.

It carries the bytes of each TCP connection unchanged, below TLS. Three things can be done to it:

- `round_trip` adds distance: connections made from then on are this many seconds away.
- `cut` makes it silent: every connection is dead for good, nothing is delivered and nothing closes. New connections are
  accepted (by the kernel) and as dead. `restore` lets new connections work; those made before stay dead, as after a
  network change or when a router has forgotten them.
- `hold` delays all bytes until `release`, after which every connection goes on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

RECEIVE = 64 * 1024  # bytes read from the socket at a time
IN_FLIGHT = 256  # chunks on their way in one direction before the sender waits


class Gate:
    """Open, closed, or shut for good. While it isn't open, nothing is read or written."""

    def __init__(self) -> None:
        self._opened = trio.Event()
        self._opened.set()
        self._shut = False

    def close(self) -> None:
        if self._opened.is_set() and not self._shut:
            self._opened = trio.Event()

    def open(self) -> None:
        if not self._shut:
            self._opened.set()

    def shut(self) -> None:
        self._shut = True
        self._opened.set()  # wakes those who wait

    async def passed(self) -> bool:
        """Wait while it is closed. Return False if it is shut for good."""
        while not self._opened.is_set():
            await self._opened.wait()
        return not self._shut


class Line:
    """All connections to one port."""

    def __init__(self) -> None:
        self.round_trip = 0.0  # seconds; counts for connections made from now on
        self._gate = Gate()  # of the present connections
        self._silent = False

    def cut(self) -> None:
        self._silent = True
        self._gate.shut()

    def restore(self) -> None:
        self._silent = False
        self._gate = Gate()

    def hold(self) -> None:
        self._gate.close()

    def release(self) -> None:
        self._gate.open()

    async def carry(self, stream: trio.abc.Stream, serve: Callable[[trio.abc.Stream], Awaitable[None]]) -> None:
        """Call `serve` with the connection as the server sees it. Return when all that it sent has arrived."""
        wire = Wire(stream, self._gate)
        if not self.round_trip:
            await serve(wire)
            return
        far = FarStream(wire, self.round_trip)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.receive_all)
            nursery.start_soon(far.deliver)
            await serve(far)
            await far.delivered()
            nursery.cancel_scope.cancel()


class Wire(trio.abc.Stream):
    """A connection whose bytes pass a gate. A dead one ends for the server when the client has closed its side."""

    def __init__(self, stream: trio.abc.Stream, gate: Gate) -> None:
        self._stream = stream
        self._gate = gate

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if not await self._gate.passed():
            await trio.sleep_forever()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self._stream.receive_some(max_bytes)
        if await self._gate.passed():
            return data
        while data:  # it is lost; no end is ever seen, so that of the client's kernel stands for a keepalive
            data = await self._stream.receive_some(RECEIVE)
        raise trio.BrokenResourceError("the line was cut")

    async def aclose(self) -> None:
        await self._stream.aclose()


class FarStream(trio.abc.Stream):
    """A connection over a distance. `receive_all` and `deliver` must run beside its user."""

    def __init__(self, stream: trio.abc.Stream, round_trip: float) -> None:
        self._stream = stream
        self._way = round_trip / 2  # seconds
        self._opened = trio.current_time() + round_trip  # the client's first byte follows the TCP handshake
        self._broken = False
        self._end = 0.0  # when the client sees the server's end
        self._over = trio.Event()  # all is delivered, or can't be
        self._next: tuple[float, bytes] | None = None  # received, and not due yet
        self._sent, self._to_deliver = trio.open_memory_channel[tuple[float, bytes]](IN_FLIGHT)
        self._arrived, self._received = trio.open_memory_channel[tuple[float, bytes]](IN_FLIGHT)

    async def receive_all(self) -> None:
        """Take what the client sends, until its end."""
        with self._arrived:
            data = b"more"
            while data:
                try:
                    data = bytes(await self._stream.receive_some(RECEIVE))
                except trio.BrokenResourceError:
                    self._break()
                    return
                begun = max(trio.current_time(), self._opened)
                await self._arrived.send((begun + self._way, data))

    def _break(self) -> None:
        self._broken = True
        self._over.set()

    async def deliver(self) -> None:
        """Pass on what the server has sent, when its time has come."""
        async for due, data in self._to_deliver:
            await trio.sleep_until(due)
            try:
                await self._stream.send_all(data)
            except trio.BrokenResourceError:
                self._break()
                return
        await trio.sleep_until(self._end)
        self._over.set()

    async def delivered(self) -> None:
        """Nothing is sent any more: wait until the client would see the end."""
        self._end = trio.current_time() + self._way
        self._sent.close()
        await self._over.wait()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._broken:
            raise trio.BrokenResourceError("the connection is broken")
        await self._sent.send((trio.current_time() + self._way, bytes(data)))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """`max_bytes` is ignored."""
        try:
            self._next = self._next or await self._received.receive()
        except trio.EndOfChannel:
            if self._broken:
                raise trio.BrokenResourceError("the connection is broken") from None
            return b""
        due, data = self._next
        await trio.sleep_until(due)
        self._next = None
        return data

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
