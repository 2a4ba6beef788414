"""The proxy of an instance: one listener and its names, as the settings want them at the time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from kpf_supervise.config.contents import Proxy
from kpf_supervise.events.board import Board
from kpf_supervise.forwarding.listener import shown
from kpf_supervise.instance.desired_state import DesiredState
from kpf_supervise.instance.supervisor import Supervisor
from kpf_supervise.proxying.directory import Directory
from kpf_supervise.proxying.server import ProxyServer
from kpf_supervise.serving.port import SidePort


class ProxyKeeper:
    """Opens, changes and closes the proxy; it runs in `nursery`."""

    def __init__(self, supervisor: Supervisor, board: Board, nursery: trio.Nursery) -> None:
        self._supervisor, self._board = supervisor, board
        self._port = SidePort("proxy", board, nursery)
        self._directory: Directory | None = None  # while it listens

    async def follow(self, desired: DesiredState) -> bool:
        """Make it as is desired; a failure is told. Whether that succeeded."""
        return await self._port.follow(lambda: self._apply(desired.proxy))

    async def _apply(self, wanted: Proxy | None) -> None:
        """Return once its port is bound, or released. Names whose own settings stay the same keep their connections.
        Raises ForwardError if the port can't be bound: then nothing has changed."""
        directory = self._directory
        if wanted is None:
            if directory is not None:
                await self._port.close()
                self._directory = None
                await directory.clear()
                self._port.told("it is closed")
            return
        place = (wanted.address, wanted.port)
        if directory is not None and self._port.place == place:
            await directory.change(wanted)
            return
        listening = await self._port.bind(place)
        if directory is not None:
            await self._port.close()
            await directory.change(wanted)
        self._directory = directory = directory or Directory(wanted, self._supervisor)
        server = ProxyServer(directory, self._board)
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            "the proxy": lambda: server.run(listening.duplicate()),
            "the names of the proxy": directory.run,
            "asking for the cluster's version": directory.warm_up,
        }
        self._port.open(place, listening, parts)
        self._port.told(f"any name of the cluster is reached through {shown(*place)} (SOCKS5 and HTTP)")
