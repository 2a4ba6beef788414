"""The forwards of one instance, whoever lists them: started, stopped and restarted as that asks for."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Container, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio

from kpf_supervise.config.diff import plan
from kpf_supervise.discovery.catalog import Catalog
from kpf_supervise.events.board import Board
from kpf_supervise.forwarding.client import Client
from kpf_supervise.forwarding.doorbell import Doorbell
from kpf_supervise.forwarding.forwarder import Tools
from kpf_supervise.forwarding.listener import OF_A_FORWARD, OF_SERVICES, Fix, Listening, Processes, bind, in_use
from kpf_supervise.instance.entry import Entry, Shared
from kpf_supervise.instance.local_ports import LocalPorts
from kpf_supervise.instance.origins import Origins
from kpf_supervise.instance.stopped import StoppedEarlier
from kpf_supervise.kubectl.contexts import Contexts
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.model import Cause, Cluster, Forward, ForwardError, Problem, State, Status, Trigger
from kpf_supervise.origin import SOURCES, Origin
from kpf_supervise.primitives.boundary import unbroken
from kpf_supervise.primitives.priority_limiter import PriorityLimiter
from kpf_supervise.runtime.socket_folder import socket_folder
from kpf_supervise.sign_in.logins import Logins
from kpf_supervise.watching.sleep_detector import on_wake
from kpf_supervise.watching.watches import Watches


def _fix(origin: Origin) -> Fix:
    return OF_SERVICES if origin is Origin.SERVICES else OF_A_FORWARD


class Supervisor:
    """Starts, stops and restarts forwards. What happens to one does not affect the others."""

    def __init__(self, binary: str, guard: OrphanGuard, board: Board, share: bool = True) -> None:
        self._share = share  # what one run of a credential plugin gives
        self._contexts, self._guard, self._board = Contexts(binary, guard, board.notice), guard, board
        self.stopped_earlier = StoppedEarlier()
        self._origins = Origins()
        self._entries: dict[str, Entry] = {}
        self._ports = LocalPorts()
        self._changing = trio.Lock()  # one change at a time
        self._ending = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the forwards until cancelled, then report each one as stopped. Started at once, without any forward."""
        async with trio.open_nursery() as self._nursery:
            board = self._board
            notice, bug = board.notice, board.bug
            logins = self.logins = Logins(
                self._contexts, self._guard, self._nursery, socket_folder, notice, bug, self._share
            )
            watches = Watches(self._contexts, self._guard, self._nursery, board, socket_folder, logins)
            self._tools = Tools(self._contexts, self._guard, watches, board, PriorityLimiter(2 * (os.cpu_count() or 1)))
            doorbell = Doorbell()
            self._shared = Shared(self._tools, self._ports, doorbell, self._nursery)

            def woken(slept: float) -> None:
                after = "every kubectl is replaced as soon as the API server answers"
                self._board.notice(f"the clock has jumped by {slept:.0f} s, as after sleep: {after}")
                logins.permit()
                watches.suspect_lines()

            def guard_replaced() -> None:
                what = "the keeper was killed, a process that ends every kubectl if kpf-supervise is killed"
                self._board.notice(f"{what}: a new keeper runs, and every kubectl is replaced")
                watches.replace_kubectls("its keeper was killed")

            self._nursery.start_soon(unbroken, partial(on_wake, woken), board.failing("detecting sleep"))
            keep = partial(self._guard.keep, guard_replaced)
            self._nursery.start_soon(unbroken, keep, board.failing("replacing the keeper"))
            self._nursery.start_soon(unbroken, doorbell.run, board.failing("waiting for first connections"))
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._ending = True
                for entry in self._entries.values():
                    entry.close()

    async def sign_in_first(self, more: Iterable[Cluster]) -> None:
        """Return once the plugins that may ask somebody have signed in, or failed: those of the forwards that run, and
        of `more`."""
        clusters = (e.forward.cluster for e in self._entries.values() if e.listening is not None)
        for cluster in dict.fromkeys((*clusters, *more)):
            with suppress(ForwardError):  # the forwards tell it
                login = self.logins.of(await self._contexts.of(cluster))
                if login.plugin is not None and login.plugin.asks:
                    await login.ready()

    @property
    def contexts(self) -> Contexts:
        return self._contexts

    @property
    def ending(self) -> bool:
        """Whether everything is being stopped, and nothing can be started."""
        return self._ending

    @property
    def watches(self) -> Watches:
        return self._tools.watches

    @property
    def catalog(self) -> Catalog:
        return Catalog(self._contexts, self._tools.watches)

    @property
    def started(self) -> list[Forward]:
        """The forwards that were started over the control socket, and are kept without a lease."""
        return [
            entry.forward
            for entry in self._entries.values()
            if entry.status.origin is Origin.KPFCTL and entry.status.lease is None
        ]

    @property
    def stopped(self) -> list[Status]:
        """What the user has stopped and is still listed."""
        return [entry.status for entry in self._entries.values() if entry.by_user]

    async def apply(self, wanted: Mapping[Origin, Iterable[Forward]]) -> None:
        """Make the forwards of these origins exactly these, and touch no other's. A forward with the same settings
        keeps its connections; one that the user has stopped stays stopped until its settings change. Returns when every
        local port is bound or has failed to bind; such a failure affects only its own forward."""
        async with self._change():
            for sentence in self._origins.put(wanted):
                self._board.notice(sentence)
            by_the_user = Origin.FILE in wanted
            if by_the_user:
                self._tools.watches.ask_again()
            await self._settle(again=by_the_user)

    async def put(self, origin: Origin, forwards: Iterable[Forward]) -> None:
        """`apply` for one source."""
        await self.apply({origin: forwards})

    async def start(self, forward: Forward) -> None:
        """List and start a forward over the control socket. Raises ForwardError, and does not list it, if its id or its
        local port is taken."""
        async with self._change():
            if forward.id in self._entries:
                raise ForwardError(
                    Problem(
                        Cause.OTHER,
                        f"there is a forward {forward.id} already",
                        f"Choose another name, or: kpfctl restart {forward.id}",
                    )
                )
            listening = await self._bind(forward, Origin.KPFCTL, Processes())
            self._origins.add(Origin.KPFCTL, forward)
            entry = self._entries[forward.id] = Entry(self._board.add(forward, Origin.KPFCTL), self._shared)
            entry.begin(listening)

    async def stop(self, ids: Iterable[str]) -> None:
        """Stop forwards. Returns when their ports are released. Those that were started over the control socket are
        removed, the others stay listed. Ids that are not listed are ignored."""
        async with self._change():
            known = [id for id in ids if id in self._entries]
            await self._end(known, by_user=True)
            for id in known:
                entry = self._entries[id]
                if not entry.status.declared:
                    self._origins.drop(entry.status.origin, id)
                    self._remove(id)
                    continue
                entry.by_user, entry.lost = True, False
                if entry.status.state is not State.STOPPED:  # it had no port to release
                    self._board.changed(entry.status, Trigger.STOP, "it had no local port to release")
            await self._settle()

    async def restart(self, id: str) -> None:
        """Give it a fresh kubectl, or start it if it does not listen. Raises ForwardError if its local port can't be
        bound; it then stays as it was."""
        async with self._change():
            self._tools.watches.ask_again()
            entry = self._entries.get(id)
            if entry is None:
                raise ForwardError(Problem(Cause.OTHER, f"the forward {id} has just been stopped"))
            if entry.listening is not None:
                entry.restart()
            else:
                entry.begin(await self._bind(entry.forward, entry.status.origin, Processes()))

    def hand_over(self, id: str, client: Client) -> None:
        """Give a forward a client that the proxy has accepted. Raises ForwardError."""
        entry = self._entries.get(id)
        inbox = entry.listening.inbox if entry is not None and entry.listening is not None else None
        if inbox is None:
            fix = f"Start it with: kpfctl restart {id}"
            raise ForwardError(Problem(Cause.OTHER, f"the forward {id} is stopped", fix))
        inbox.send.send_nowait(client)

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[None]:
        """Make one change at a time, and complete it even if the client that asked for it has left."""
        async with self._changing:
            with trio.CancelScope(shield=True):
                yield

    async def _settle(self, again: bool = False) -> None:
        """Make what runs match what is listed. A forward that could not bind its local port is tried again if that was
        released meanwhile, and with `again` in any case."""
        listed = self._origins.listed()
        running = {id: None if again and e.lost else e.forward for id, e in self._entries.items()}
        changes = plan(running, (each.forward for each in listed.values()))
        of_file = {forward.local for forward in changes.start if listed[forward.id].origin is Origin.FILE}
        kept = {each.id: self._port_kept(each, listed[each.id].origin, of_file) for each in changes.start}
        await self._end(changes.stop)
        for id in changes.removed:
            self._remove(id)
        for forward in changes.start:
            origin = listed[forward.id].origin
            entry = self._entries[forward.id] = Entry(self._board.add(forward, origin), self._shared)
            entry.by_user = forward.id not in running and self.stopped_earlier.recalls(forward, origin)
        for id, each in listed.items():
            status = self._entries[id].status
            status.origin, status.forward = each.origin, each.forward  # one that goes on may be in other groups
        ready, processes = [], Processes()
        begins = [self._entries[forward.id] for forward in changes.start]
        freed = [e for e in self._entries.values() if e.lost and self._ports.became_free(e.forward)]
        self._ports.forget_freed()
        for entry in (*begins, *freed):
            forward = entry.forward
            if forward.enabled and not entry.by_user and not self._ending:
                try:
                    listening = await self._bind(forward, entry.status.origin, processes, kept.get(forward.id))
                    ready.append((entry, listening))
                except ForwardError as trouble:
                    entry.lose(trouble.problem)
        for entry, listening in ready:  # only now: no kubectl starts before every port is bound
            if self._ending:
                listening.close()
            else:
                entry.begin(listening)

    def _port_kept(self, forward: Forward, origin: Origin, of_file: Container[int | None]) -> Listening | None:
        """The sockets that it already has, if address and port stay the same: no connection is refused meanwhile."""
        entry = self._entries.get(forward.id)
        if entry is None or entry.listening is None or not forward.enabled:
            return None
        if origin in SOURCES and forward.local in of_file:
            return None
        before = entry.forward
        same = (before.address, before.local) == (forward.address, forward.local)
        return entry.listening.duplicate() if same else None

    async def _end(self, ids: Iterable[str], by_user: bool = False) -> None:
        """Cancel all of them, then wait for all."""
        entries = [self._entries[id] for id in ids]
        async with trio.open_nursery() as nursery:
            for entry in entries:
                nursery.start_soon(entry.end, by_user)

    def _remove(self, id: str) -> None:
        entry = self._entries.pop(id)
        if entry.by_user:
            self.stopped_earlier.keep(entry.forward, entry.status.origin)
        self._board.remove(id)

    async def _bind(
        self, forward: Forward, origin: Origin, processes: Processes, kept: Listening | None = None
    ) -> Listening:
        """Raises ForwardError. A forward of the file gets the local port of a source's."""
        if self._ending:
            raise ForwardError(Problem(Cause.OTHER, "this instance is ending", "Start another one"))
        while kept is None:
            holder = self._ports.holder(forward)
            if not holder or not origin.outranks(self._entries[holder].status.origin):
                passing = not holder and self._ports.passing(forward, trio.current_time())
                kept = await bind(forward, holder, processes, _fix(origin), passing)
            else:
                await self._entries[holder].end()
                self._entries[holder].lose(
                    in_use(forward.local or 0, forward.id, _fix(self._entries[holder].status.origin))
                )
        self._ports.hold(forward, kept.port)
        return kept
