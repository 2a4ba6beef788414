"""A connection inside this process: two byte streams with half-close, without sockets and without copying."""

from __future__ import annotations

import trio

DEPTH = 4  # chunks in transit in one direction before the writer waits


class PipeEnd(trio.abc.HalfCloseableStream):
    """One end. Chunks keep their boundaries and are passed by reference, as unchanged `bytes` or `memoryview`."""

    def __init__(
        self,
        outgoing: trio.MemorySendChannel[bytes | memoryview],
        incoming: trio.MemoryReceiveChannel[bytes | memoryview],
    ) -> None:
        self._outgoing = outgoing
        self._incoming = incoming

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Raises BrokenResourceError if the other end is closed, as after a reset."""
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
        """The next chunk, copied into bytes if it is a view. `max_bytes` is ignored."""
        return bytes(await self.receive_chunk())

    async def send_eof(self) -> None:
        self._outgoing.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Pending calls of `receive_chunk` and `send_all` on this end raise ClosedResourceError."""
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
