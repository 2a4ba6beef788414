"""The forwards of one instance: every local port is bound first, then all forwards run beside each other."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Iterable
from dataclasses import dataclass, field

import trio

from .board import Board
from .forward import Forwarder, Tools
from .keeper import Keeper
from .listener import bind
from .model import Forward, Happening, State, Status, Trouble
from .plan import plan
from .watches import Watches


@dataclass(slots=True)
class _Entry:
    """One declared forward. Stop is cancel; nothing of it runs any more once `ended` is set."""

    status: Status
    lost: bool = False  # its local port could not be had
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)


async def supervise(
    forwards: Iterable[Forward],
    edits: AsyncIterable[Iterable[Forward]],
    binary: str,
    keeper: Keeper,
    board: Board,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Keep `forwards`, and from each of the `edits` on those, until cancelled; on the way out each one is told as
    stopped. Started when every local port is bound, or known not to be had: that is its forward's failure, and no
    other's."""
    async with trio.open_nursery() as nursery:
        # two a core: more only make each other slow
        starting = trio.CapacityLimiter(2 * (os.cpu_count() or 1))
        tools = Tools(binary, keeper, Watches(binary, keeper, nursery, board.notice), board, starting)
        entries: dict[str, _Entry] = {}
        await _apply(forwards, entries, tools, nursery)
        task_status.started()
        async for edited in edits:
            await _apply(edited, entries, tools, nursery)
        await trio.sleep_forever()


async def _apply(wanted: Iterable[Forward], entries: dict[str, _Entry], tools: Tools, nursery: trio.Nursery) -> None:
    """Change what has to change, and touch nothing else."""
    # one that could not have its port is tried again at each edit
    running = {id: None if entry.lost else entry.status.forward for id, entry in entries.items()}
    changes = plan(running, wanted)
    stopped = [entries.pop(id) for id in changes.stop]
    for entry in stopped:
        entry.scope.cancel()
    for entry in stopped:
        await entry.ended.wait()
    for id in changes.removed:
        tools.board.remove(id)
    ready: list[tuple[_Entry, Forwarder]] = []
    for forward in changes.start:
        entry = entries[forward.id] = _Entry(tools.board.add(forward))
        try:
            listening = bind(forward) if forward.enabled else None
        except Trouble as trouble:
            tools.board.changed(entry.status, Happening.GIVE_UP, str(trouble.problem), problem=trouble.problem)
            listening, entry.lost = None, True
        if listening is None:
            entry.ended.set()
            continue
        entry.status.port = listening.port
        ready.append((entry, Forwarder(entry.status, listening, tools)))
    for entry, forwarder in ready:  # only now: no kubectl starts before every port is bound
        nursery.start_soon(_run, entry, forwarder, tools.board)


async def _run(entry: _Entry, forwarder: Forwarder, board: Board) -> None:
    try:
        with entry.scope:
            await forwarder.run()
    finally:
        if entry.status.state is not State.STOPPED:
            board.changed(entry.status, Happening.STOP, f"{forwarder.local} is released")
        entry.ended.set()
