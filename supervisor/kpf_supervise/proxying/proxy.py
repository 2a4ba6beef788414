"""The proxy of an instance: one listener and its names, as the settings want them at the time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial

import trio

from kpf_supervise.config.contents import Proxy
from kpf_supervise.events.board import Board
from kpf_supervise.forwarding.listener import Listening, bind
from kpf_supervise.instance.desired_state import DesiredState
from kpf_supervise.instance.supervisor import Supervisor
from kpf_supervise.model import TEMPLATE, ForwardError
from kpf_supervise.primitives.boundary import unbroken
from kpf_supervise.proxying.directory import Directory
from kpf_supervise.proxying.server import ProxyServer


@dataclass(slots=True)
class _Open:
    """A proxy that listens. `ended` is set when its port is released."""

    directory: Directory
    listening: Listening
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)


class ProxyKeeper:
    """Opens, changes and closes the proxy; it runs in `nursery`."""

    def __init__(self, supervisor: Supervisor, board: Board, nursery: trio.Nursery) -> None:
        self._supervisor, self._board, self._nursery = supervisor, board, nursery
        self._open: _Open | None = None
        self._changing = trio.Lock()

    async def follow(self, desired: DesiredState) -> bool:
        """Make it as is desired; a failure is told. Whether that succeeded."""
        try:
            async with self._changing:
                await self.apply(desired.proxy)
        except ForwardError as trouble:
            self._board.notice(f"proxy: {trouble.problem}")
            return False
        return True

    async def apply(self, wanted: Proxy | None) -> None:
        """Return once its port is bound, or released. Names whose own settings stay the same keep their connections.
        Raises ForwardError if the port can't be bound: then nothing has changed."""
        now = self._open
        if wanted is None:
            if now is not None:
                await self._close(now)
                await now.directory.clear()
                self._board.notice("proxy: it is closed")
        elif now is not None and _place(now.directory.settings) == _place(wanted):
            await now.directory.change(wanted)
        else:
            await self._move(now, wanted)

    async def _move(self, now: _Open | None, wanted: Proxy) -> None:
        """Listen where it is wanted, and no longer where it was. Raises ForwardError."""
        listening = await bind(replace(TEMPLATE, id="proxy", local=wanted.port, address=wanted.address))
        if now is not None:
            await self._close(now)
            await now.directory.change(wanted)
        directory = now.directory if now is not None else Directory(wanted, self._supervisor)
        self._open = _Open(directory, listening)
        self._nursery.start_soon(self._run, self._open)
        host = f"[{wanted.address}]" if ":" in wanted.address else wanted.address
        self._board.notice(f"proxy: any name of the cluster is reached through {host}:{wanted.port} (SOCKS5 and HTTP)")

    async def _close(self, now: _Open) -> None:
        self._open = None
        now.scope.cancel()
        await now.ended.wait()

    async def _run(self, now: _Open) -> None:
        try:
            with now.scope:
                async with trio.open_nursery() as nursery:
                    server = ProxyServer(now.directory, self._board)
                    parts: dict[str, Callable[[], Awaitable[None]]] = {
                        "the proxy": partial(self._serve, server, now.listening),
                        "the names of the proxy": now.directory.run,
                        "asking for the cluster's version": now.directory.warm_up,
                    }
                    for what, run in parts.items():
                        nursery.start_soon(unbroken, run, self._board.failing(what))
        finally:
            now.listening.close()
            now.ended.set()

    async def _serve(self, server: ProxyServer, listening: Listening) -> None:
        await server.run(listening.duplicate())


def _place(settings: Proxy) -> tuple[str, int]:
    return settings.address, settings.port
