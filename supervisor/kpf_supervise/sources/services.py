"""Lists a forward for each port of each service of the namespaces that the file names, and follows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence

import trio

from kpf_supervise.config.contents import ServiceGroup
from kpf_supervise.discovery.services import Service
from kpf_supervise.discovery.watch import Watch
from kpf_supervise.discovery.watches import Watches
from kpf_supervise.events.board import Board
from kpf_supervise.model import FINAL, Cause, Cluster, Forward, ForwardError, Problem, State
from kpf_supervise.primitives.backoff import delay
from kpf_supervise.primitives.signal import Signal
from kpf_supervise.sources.namespaces import Addresses, Found, Known, forwards_of

_SETTLE = 0.05  # seconds for which further changes are waited for: they come in bursts
_AGAIN = (5.0, 60.0)  # seconds: the first and the longest pause until a context that failed is tried again
_NAMED = 5  # names in one sentence

_Place = tuple[Cluster, str | None]


class ServiceSource:
    """`put` lists exactly these forwards, and returns when their local ports are bound or have failed to bind."""

    def __init__(self, watches: Watches, board: Board, put: Callable[[list[Forward]], Awaitable[None]]) -> None:
        self._watches = watches
        self._board = board
        self._put = put
        self._groups: tuple[ServiceGroup, ...] = ()
        self._changed = Signal()
        self._stale = True  # something has changed since the last `_put`
        self._watching: dict[_Place, Watch[Service]] = {}
        self._problems: dict[_Place, Problem] = {}  # why a place has no watch
        self._failures = 0
        self._addresses = Addresses()
        self._ids: dict[str, set[str]] = {}  # what was listed of each namespace
        self._left_out: set[str] = set()  # told
        self._lost: set[str] = set()  # told
        self._listed: set[_Place] = set()
        self.told = Signal()  # whenever `missing` may have changed

    def want(self, groups: Iterable[ServiceGroup]) -> None:
        """These groups from now on."""
        self._groups = tuple(groups)
        self._failures = 0
        self._tell()

    @property
    def missing(self) -> dict[str, Problem | None]:
        """The namespaces whose services are not listed yet, with the reason as far as it is known."""
        return {_named(place): self._problem(place) for place in self._places() if place not in self._listed}

    @property
    def clusters(self) -> set[Cluster]:
        return {cluster for cluster, _ in self._places()}

    async def until_listed(self, timeout: float, keep_waiting: bool) -> dict[str, Problem | None]:
        """Wait until none is missing; returns those still missing after `timeout` seconds. If the reason does not go
        away by itself, returns at once, unless `keep_waiting` is set."""
        with trio.move_on_after(timeout):
            while missing := self.missing:
                if not keep_waiting and any(each is not None and each.cause in FINAL for each in missing.values()):
                    break
                await self.told.wait()
        return self.missing

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            with trio.move_on_after(self._pause()):
                while not self._stale:
                    await self._changed.wait()
                await trio.sleep(_SETTLE)
            self._stale = False
            try:
                await self._watch()
                await self._list()
            except BaseException:
                self._stale = True
                raise
            self.told.tell()

    def _tell(self, _: object = None) -> None:
        self._stale = True
        self._changed.tell()

    def _pause(self) -> float:
        """Until a place whose watch could not be started is tried again: its kubeconfig may be right by then."""
        return delay(*_AGAIN, self._failures - 1) if self._problems else float("inf")

    def _places(self) -> dict[_Place, None]:
        return dict.fromkeys((group.template.cluster, group.template.namespace) for group in self._groups)

    def _problem(self, place: _Place) -> Problem | None:
        watch = self._watching.get(place)
        return self._problems.get(place) if watch is None else watch.problem or watch.forbidden

    async def _watch(self) -> None:
        """Have a watch of each place, and of no other."""
        places = self._places()
        for place in self._watching.keys() - places.keys():
            self._watching.pop(place).listeners.discard(self._tell)
        problems, self._problems = self._problems, {}
        for place in places:
            if place not in self._watching:
                try:
                    watch = await self._watches.services(*place)
                except ForwardError as trouble:
                    self._problems[place] = trouble.problem
                    if problems.get(place) != trouble.problem:
                        self._board.notice(f"services of {_named(place)}: {trouble.problem}")
                else:
                    watch.listeners.add(self._tell)
                    self._watching[place] = watch
        self._failures = self._failures + 1 if self._problems else 0

    async def _list(self) -> None:
        listed = {place for place, watch in self._watching.items() if watch.listed}
        known = [
            Known(group, self._watching[place].namespace, self._watching[place].items)
            for group in self._groups
            if (place := (group.template.cluster, group.template.namespace)) in listed
        ]
        found = forwards_of(known, self._addresses)
        await self._put(found.forwards)
        self._listed = listed
        await self._tell_change(known, found)
        self._tell_left_out(found)
        self._tell_lost(found)

    async def _tell_change(self, known: Sequence[Known], found: Found) -> None:
        before, self._ids = self._ids, {each.namespace: set() for each in known}
        for forward in found.forwards:
            self._ids[forward.namespace or ""].add(forward.id)
        for namespace, ids in self._ids.items():
            if namespace not in before:
                services = len({id.rpartition("/")[0] for id in ids})
                self._board.notice(_first(namespace, services, len(ids)) if ids else await self._none(namespace))
            elif ids != before[namespace]:
                come, gone = ids - before[namespace], before[namespace] - ids
                words = [_some(come, "came"), _some(gone, "went")]
                self._board.notice(f"namespace {namespace}: {'; '.join(filter(None, words))}")

    async def _none(self, namespace: str) -> str:
        """A listing of a namespace that does not exist is empty."""
        (watch, *_) = [each for each in self._watching.values() if each.namespace == namespace]
        try:
            await watch.questions.ask(f"/api/v1/namespaces/{namespace}")
        except ForwardError as trouble:
            if trouble.problem.cause is Cause.NO_SUCH_NAMESPACE:
                return f"services: {trouble.problem}"
        return f"namespace {namespace} has no service to forward to yet"

    def _tell_left_out(self, found: Found) -> None:
        new = [each for each in found.left_out if each not in self._left_out]
        self._left_out = set(found.left_out)
        if new:
            self._board.notice(f"services that can't be forwarded: {_listing(new)}")

    def _tell_lost(self, found: Found) -> None:
        """The forwards themselves are listed as failed. That is told in one sentence: often they are many."""
        statuses = [self._board.statuses[each.id] for each in found.forwards if each.id in self._board.statuses]
        lost = {
            status.forward.id: status.problem
            for status in statuses
            if status.state is State.FAILED and status.problem is not None and status.problem.cause is Cause.LOCAL_PORT
        }
        new = [id for id in lost if id not in self._lost]
        self._lost = set(lost)
        if new:
            fixes = Counter(lost[id].next_step for id in new)
            shown = [f"{id} ({lost[id].message})" for id in new]
            step = fixes.most_common(1)[0][0]
            self._board.notice(f"services without a local port: {_listing(shown)}. {step}")


def _named(place: _Place) -> str:
    cluster, namespace = place
    words = [f"namespace {namespace}" if namespace else "the context's namespace"]
    if cluster.context:
        words.append(f"context {cluster.context}")
    return ", ".join(words)


def _first(namespace: str, services: int, ports: int) -> str:
    ones = f"{services} service{'s' if services > 1 else ''}, {ports} port{'s' if ports > 1 else ''}"
    return f"namespace {namespace}: {ones}; kubectl starts with the first connection to one of them"


def _some(ids: set[str], what: str) -> str:
    return f"{_listing(sorted(ids))} {what}" if ids else ""


def _listing(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
