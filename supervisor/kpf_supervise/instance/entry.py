"""One listed forward, and what runs of it."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from kpf_supervise.decision.sentences import listens
from kpf_supervise.forwarding.doorbell import Doorbell
from kpf_supervise.forwarding.forwarder import Forwarder, Tools
from kpf_supervise.forwarding.listener import Listening, shown
from kpf_supervise.instance.local_ports import LocalPorts
from kpf_supervise.model import Cause, Forward, Problem, Status, Trigger
from kpf_supervise.primitives.boundary import unbroken


@dataclass(frozen=True, slots=True)
class Shared:
    """What the forwards of an instance share."""

    tools: Tools
    ports: LocalPorts
    doorbell: Doorbell
    nursery: trio.Nursery  # they run in it


class Entry:
    """Without a `begin`, or after `end`, it has only a status. What concerns a dormant forward that nobody has used is
    told only to subscribers: there may be a thousand."""

    __slots__ = ("_ended", "_forwarder", "_listening", "_scope", "_shared", "by_user", "lost", "status")

    def __init__(self, status: Status, shared: Shared) -> None:
        self.status = status
        self.lost = False  # its local port could not be bound
        self.by_user = False  # stopped over the control socket
        self._shared = shared
        self._listening: Listening | None = None
        self._forwarder: Forwarder | None = None  # None while it is dormant
        self._scope: trio.CancelScope | None = None
        self._ended: trio.Event | None = None

    @property
    def forward(self) -> Forward:
        return self.status.forward

    @property
    def listening(self) -> Listening | None:
        return self._listening

    def begin(self, listening: Listening) -> None:
        """Serve on these sockets, which are then its own."""
        self.lost = self.by_user = False
        self._listening = listening
        self.status.port = listening.port
        if self.forward.dormant:
            self._shared.doorbell.watch(listening, self._wake)
            text = listens(shown(self.forward.address, listening.port))
            self._shared.tools.board.changed(self.status, Trigger.QUIET, text, printed=False)
        else:
            self._run(listening)

    def restart(self) -> None:
        """Give it a fresh kubectl. It must listen."""
        if self._forwarder is None:
            self._wake()
        if self._forwarder is not None:
            self._forwarder.restart()

    def lose(self, problem: Problem) -> None:
        """It has no local port."""
        self.lost = True
        told = not self.forward.dormant
        self._shared.tools.board.changed(self.status, Trigger.GIVE_UP, str(problem), problem=problem, printed=told)

    async def end(self, by_user: bool = False) -> None:
        """Returns when nothing of it runs and its port is released."""
        if self._scope is not None and self._ended is not None:
            self._scope.cancel()
            await self._ended.wait()
        elif self._listening is not None:
            self.close(by_user)

    def close(self, told: bool = False) -> None:
        """`end` of a dormant one; nothing happens to one that runs."""
        if self._listening is not None and self._forwarder is None:
            self._shared.doorbell.leave(self._listening)
            self._release(self._listening, told)

    def _wake(self) -> None:
        if self._listening is not None and self._forwarder is None:
            self._shared.doorbell.leave(self._listening)
            self._run(self._listening)

    def _run(self, listening: Listening) -> None:
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        self._forwarder = Forwarder(self.status, listening, self._shared.tools)
        self._forwarder.begin()
        self._shared.nursery.start_soon(self._keep, listening, self._scope, self._ended)

    async def _keep(self, listening: Listening, scope: trio.CancelScope, ended: trio.Event) -> None:
        """Run it until it is stopped, or is dormant again. A bug ends its connections, but no other forward. The port
        stays bound, so the kernel queues connections that arrive before the forward is started again."""
        board = self._shared.tools.board

        def failed(error: BaseException, pause: float) -> None:
            sentence = board.bug(error, f"forward {self.forward.id}")
            problem = Problem(Cause.INTERNAL, sentence, f"It is started again in {pause:.0f} s")
            self.status.pods = ()
            board.changed(self.status, Trigger.GIVE_UP, str(problem), problem=problem)
            self._forwarder = Forwarder(self.status, listening, self._shared.tools)

        async def serve() -> None:
            assert self._forwarder is not None
            await self._forwarder.run()  # looked up at each start: after a bug it is a new one

        rests = False
        try:
            with scope:
                await unbroken(serve, failed)
                rests = not scope.cancel_called
        finally:
            if rests:
                self._forwarder = self._scope = self._ended = None
                self._shared.doorbell.watch(listening, self._wake)
            else:
                self._release(listening, True)
            ended.set()

    def _release(self, listening: Listening, told: bool) -> None:
        listening.close()
        self._shared.ports.release(self.forward, listening.port, trio.current_time())
        self._listening = self._forwarder = self._scope = self._ended = None
        self.status.pods, self.status.port = (), None
        text = f"{shown(self.forward.address, listening.port)} is released"
        self._shared.tools.board.changed(self.status, Trigger.STOP, text, printed=told)
