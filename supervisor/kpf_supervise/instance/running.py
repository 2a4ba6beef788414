"""What the supervisor knows of each forward beside its status."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from kpf_supervise.forwarding.forwarder import Forwarder
from kpf_supervise.forwarding.listener import Listening
from kpf_supervise.model import Status


@dataclass(slots=True)
class Run:
    """A forward while it listens. Cancel `scope` to stop it; `ended` is set when nothing of it runs any more."""

    forwarder: Forwarder
    listening: Listening
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)


@dataclass(slots=True)
class Entry:
    """One listed forward. Without a `run`, it has only a status."""

    status: Status
    run: Run | None = None
    lost: bool = False  # its local port could not be bound
    by_user: bool = False  # stopped over the control socket

    async def end(self) -> None:
        if self.run is not None:
            self.run.scope.cancel()
            await self.run.ended.wait()
