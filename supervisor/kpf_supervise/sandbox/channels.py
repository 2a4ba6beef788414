"""The other WebSocket protocol for port-forwarding: `v4.channel.k8s.io`, or no protocol named. Client libraries use
it; kubectl does not.

A WebSocket is one connection into the pod. Each message begins with its channel: 0 for data, 1 for errors. The server
first sends the port on both channels, as two bytes, little-endian.
"""

from __future__ import annotations

from contextlib import suppress

import trio

from kpf_supervise.sandbox.kubelet import DialError, Sandbox
from kpf_supervise.sandbox.pipe import PipeEnd
from kpf_supervise.sandbox.transport import Transport, WebSocket

DATA, ERROR = b"\0", b"\1"
GRACE = 1.0  # seconds for the peer to close too; closing earlier could lose data sent to it


async def serve_channels(port: int, sandbox: Sandbox, transport: Transport) -> None:
    """Dial and copy until either side ends. The end of a side raises nothing."""
    assert isinstance(transport, WebSocket)
    with suppress(trio.BrokenResourceError):
        for channel in (DATA, ERROR):
            await transport.send(channel + port.to_bytes(2, "little"))
        try:
            connection = sandbox.dial(port)
        except DialError as error:
            await transport.send(ERROR + str(error).encode())
            await transport.close()
            return
        async with connection, trio.open_nursery() as nursery:
            nursery.start_soon(_to_pod, transport, connection)
            with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                while chunk := await connection.receive_chunk():
                    await transport.send(DATA + bytes(chunk))
                await transport.close()
            nursery.cancel_scope.deadline = trio.current_time() + GRACE


async def _to_pod(transport: WebSocket, connection: PipeEnd) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for message in transport.messages():
            if message[:1] == DATA:
                await connection.send_all(message[1:])
    connection.close()
