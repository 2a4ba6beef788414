"""The forwards of one instance: every local port is bound first, then all forwards run beside each other."""

from __future__ import annotations

import os
from collections.abc import Iterable

import trio

from .board import Board
from .forward import Forwarder, Tools
from .keeper import Keeper
from .listener import bind
from .model import Forward, Happening, Trouble
from .watches import Watches


async def supervise(forwards: Iterable[Forward], binary: str, keeper: Keeper, board: Board) -> None:
    """Keep `forwards` until cancelled; on the way out each one is told as stopped. A local port that can't be had is
    that forward's failure, and no other's."""
    ready: list[Forwarder] = []
    try:
        async with trio.open_nursery() as nursery:
            watches = Watches(binary, keeper, nursery, board.notice)
            # two a core: more only make each other slow
            starting = trio.CapacityLimiter(2 * (os.cpu_count() or 1))
            tools = Tools(binary, keeper, watches, board, starting)
            for forward in forwards:
                status = board.add(forward)
                if not forward.enabled:
                    continue
                try:
                    listening = bind(forward)
                except Trouble as trouble:
                    board.changed(status, Happening.GIVE_UP, str(trouble.problem), problem=trouble.problem)
                    continue
                status.port = listening.port
                ready.append(Forwarder(status, listening, tools))
            for forwarder in ready:
                nursery.start_soon(forwarder.run)
            await trio.sleep_forever()
    finally:
        for forwarder in ready:
            board.changed(forwarder.status, Happening.STOP, f"{forwarder.local} is released")
