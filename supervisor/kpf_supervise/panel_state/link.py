"""The panel's connection to the control socket, for asyncio: sends calls, receives events."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from kpf_supervise.control import jsonrpc
from kpf_supervise.control.client import Refused
from kpf_supervise.control.unix_socket import check_owner

_LONGEST = 64 * 1024 * 1024  # bytes of a line; a list of a thousand forwards has less than one million


class Lost(Refused):
    """There is no connection."""


class Instance(Protocol):
    """The connection to the instance."""

    heard: Callable[[str, dict[str, Any]], None]

    async def connect(self) -> None: ...
    async def listen(self) -> None: ...
    async def call(self, method: str, **params: Any) -> Any: ...


class Link:
    """Speaks JSON-RPC with this user's instance at `path`: `connect`, then `listen`, which passes the method
    and the parameters of each notification to `heard`."""

    def __init__(self, path: Path) -> None:
        self.heard: Callable[[str, dict[str, Any]], None] = lambda _, __: None
        self._path = path
        self._reader: asyncio.StreamReader
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        """Raises OSError if nobody serves the socket; PermissionError if another user does."""
        self._reader, writer = await asyncio.open_unix_connection(str(self._path), limit=_LONGEST)
        try:
            check_owner(writer.get_extra_info("socket"))
        except BaseException:
            writer.close()
            raise
        self._writer = writer

    async def listen(self) -> None:
        """Read answers and events. Returns when the other side has closed the connection; every call that waits then
        is refused."""
        writer = self._writer
        assert writer is not None
        try:
            with suppress(OSError, ValueError):  # it was reset, or sends what is no protocol
                while line := await self._reader.readline():
                    self._take(jsonrpc.answer(line))
                    await asyncio.sleep(0)  # whoever waits for an answer has it before the notifications that follow
        finally:
            self._writer = None
            writer.close()
            for waiting in self._answers.values():
                if not waiting.done():
                    waiting.set_exception(Lost("the instance has ended"))

    def _take(self, message: dict[str, Any]) -> None:
        if "method" in message:
            self.heard(message["method"], message["params"])
        elif (waiting := self._answers.get(message["id"])) is not None and not waiting.done():
            waiting.set_result(message)

    async def call(self, method: str, **params: Any) -> Any:
        """The result of a method; parameters that are None are not sent. Raises Refused, and Lost if
        there is no connection."""
        if self._writer is None:
            raise Lost("the instance does not answer")
        id = next(self._ids)
        waiting = self._answers[id] = asyncio.get_running_loop().create_future()
        given = {name: value for name, value in params.items() if value is not None}
        try:
            self._writer.write(jsonrpc.encode(jsonrpc.call(method, given, id)))
            answer = await waiting
        finally:
            del self._answers[id]
        if "error" in answer:
            raise Refused(answer["error"]["message"])
        return answer["result"]
