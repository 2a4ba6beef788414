"""A connection inside this process: two ends, each a byte stream with half-close, no socket and no copy."""

from __future__ import annotations

import trio

DEPTH = 4  # chunks under way in one direction before the writer waits


class PipeEnd(trio.abc.HalfCloseableStream):
    """One end. What is sent arrives as it was cut, by reference; `bytes` or `memoryview`, never changed."""

    def __init__(
        self,
        outgoing: trio.MemorySendChannel[bytes | memoryview],
        incoming: trio.MemoryReceiveChannel[bytes | memoryview],
    ) -> None:
        self._outgoing = outgoing
        self._incoming = incoming

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Raises BrokenResourceError when the other end is closed, as a reset does."""
        await self._outgoing.send(bytes(data) if isinstance(data, bytearray) else data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_chunk(self) -> bytes | memoryview:
        """The next chunk; b"" at the end."""
        try:
            return await self._incoming.receive()
        except trio.EndOfChannel:
            return b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next chunk, copied into bytes if it is a view; `max_bytes` isn't heeded."""
        return bytes(await self.receive_chunk())

    async def send_eof(self) -> None:
        self._outgoing.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Whoever waits in `receive_chunk` or `send_all` of this end gets ClosedResourceError."""
        self._outgoing.close()
        self._incoming.close()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()


def pipe() -> tuple[PipeEnd, PipeEnd]:
    """Both ends of a new connection."""
    there = trio.open_memory_channel[bytes | memoryview](DEPTH)
    back = trio.open_memory_channel[bytes | memoryview](DEPTH)
    return PipeEnd(there[0], back[1]), PipeEnd(back[0], there[1])
