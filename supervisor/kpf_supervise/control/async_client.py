"""The trio client of a control connection: sends calls, receives events. Every panel uses it, local or remote."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from kpf_supervise.control import jsonrpc
from kpf_supervise.control.client import Refused
from kpf_supervise.control.unix_socket import check_owner


async def connect(path: Path) -> trio.SocketStream:
    """Connect to this user's instance at `path`. Raises OSError; PermissionError if it belongs to another user."""
    stream = await trio.open_unix_socket(str(path))
    try:
        check_owner(stream.socket)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


class AsyncClient:
    """Speaks JSON-RPC over `stream` while `run` is running."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._ids = itertools.count(1)
        self._answers: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}
        self._sending = trio.Lock()

    async def run(self, heard: Callable[[dict[str, Any]], None]) -> None:
        """Pass each event to `heard`. Returns when the other side has closed the connection."""
        rest = b""
        try:
            async for data in self._stream:
                *lines, rest = (rest + bytes(data)).split(b"\n")
                for line in lines:
                    message = jsonrpc.answer(line)
                    if "method" in message:
                        heard(message["params"])
                    elif (waiting := self._answers.get(message["id"])) is not None:
                        waiting.send_nowait(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            for waiting in self._answers.values():
                waiting.close()

    async def call(self, method: str, **params: Any) -> Any:
        """The result of a method. Raises Refused, also if the other side has closed the connection."""
        id = next(self._ids)
        send, receive = trio.open_memory_channel[dict[str, Any]](1)
        self._answers[id] = send
        try:
            async with self._sending:
                await self._stream.send_all(jsonrpc.encode(jsonrpc.call(method, params, id)))
            answer = await receive.receive()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
            raise Refused("the instance has ended") from None
        finally:
            del self._answers[id]
            send.close()
            receive.close()
        if "error" in answer:
            raise Refused(answer["error"]["message"])
        return answer["result"]
