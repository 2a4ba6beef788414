"""The metrics of an instance: served on one local port, as the settings want it at the time."""

from __future__ import annotations

import trio

from kpf_supervise.events.board import Board
from kpf_supervise.forwarding.listener import shown
from kpf_supervise.instance.desired_state import DesiredState
from kpf_supervise.instance.supervisor import Supervisor
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.serving.port import Place, SidePort
from kpf_supervise.version import commit


class MetricsKeeper:
    """Opens, moves and closes the port; it runs in `nursery`."""

    def __init__(self, supervisor: Supervisor, board: Board, guard: OrphanGuard, nursery: trio.Nursery) -> None:
        self._supervisor, self._board, self._guard = supervisor, board, guard
        self._port = SidePort("metrics", board, nursery)

    async def follow(self, desired: DesiredState) -> bool:
        """Make it as is desired; a failure is told. Whether that succeeded."""
        return await self._port.follow(lambda: self._apply(desired.metrics))

    async def _apply(self, wanted: Place | None) -> None:
        """Return once the port is bound, or released. Raises ForwardError if it can't be bound: then nothing has
        changed."""
        if wanted == self._port.place:
            return
        if wanted is None:
            await self._port.close()
            self._port.told("they are no longer served")
            return
        listening = await self._port.bind(wanted)
        await self._port.close()
        # These take 60 ms to import, and few want metrics.
        import psutil

        from kpf_supervise.metrics.collect import Facts
        from kpf_supervise.metrics.server import MetricsServer

        started, built_from = psutil.Process().create_time(), await trio.to_thread.run_sync(commit)

        def facts() -> Facts:
            return Facts(
                statuses=list(self._board.statuses.values()),
                commands=list(self._guard.children.values()),
                sign_ins=self._supervisor.logins.outcomes,
                started=started,
                commit=built_from,
            )

        server = MetricsServer(facts, self._board)
        self._port.open(wanted, listening, {"the metrics": lambda: server.run(listening.duplicate())})
        self._port.told(f"http://{shown(*wanted)}/metrics")
