"""Lists a forward for each port of each service of the namespaces that the file names, and follows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from kpf_supervise.config.contents import ServiceGroup
from kpf_supervise.events.board import Board
from kpf_supervise.model import Cause, Cluster, ForwardError, Problem, State
from kpf_supervise.sources.following import Following, Put, some
from kpf_supervise.sources.namespaces import Addresses, Found, Known, forwards_of
from kpf_supervise.watching.services import Service
from kpf_supervise.watching.watch import Watch
from kpf_supervise.watching.watches import Watches

_Place = tuple[Cluster, str | None]


class ServiceSource(Following):
    def __init__(self, watches: Watches, board: Board, put: Put) -> None:
        super().__init__(board, put)
        self._watches = watches
        self._groups: tuple[ServiceGroup, ...] = ()
        self._watching: dict[_Place, Watch[Service]] = {}
        self._problems: dict[_Place, Problem] = {}  # why a place has no watch
        self._addresses = Addresses()
        self._listed: set[_Place] = set()
        self._left_out: set[str] = set()  # told
        self._lost: set[str] = set()  # told

    def want(self, groups: Iterable[ServiceGroup]) -> None:
        """These groups from now on."""
        self._groups = tuple(groups)
        self.failures = 0
        self.tell()

    @property
    def missing(self) -> Mapping[str, Problem | None]:
        places = (place for place in self._places() if place not in self._listed)
        return {f"the services of {_named(place)}": self._problem(place) for place in places}

    @property
    def clusters(self) -> set[Cluster]:
        return {cluster for cluster, _ in self._places()}

    async def update(self) -> bool:
        await self._watch()
        listed = {place for place, watch in self._watching.items() if watch.listed}
        known = [
            Known(group, self._watching[place].namespace, self._watching[place].items)
            for group in self._groups
            if (place := (group.template.cluster, group.template.namespace)) in listed
        ]
        found = forwards_of(known, self._addresses)
        await self._put(found.forwards)
        self._listed = listed
        await self._tell_all(known, found)
        return not self._problems

    def _places(self) -> dict[_Place, None]:
        return dict.fromkeys((group.template.cluster, group.template.namespace) for group in self._groups)

    def _problem(self, place: _Place) -> Problem | None:
        watch = self._watching.get(place)
        return self._problems.get(place) if watch is None else watch.problem or watch.forbidden

    async def _watch(self) -> None:
        """Have a watch of each place, and of no other."""
        places = self._places()
        for place in self._watching.keys() - places.keys():
            self._watching.pop(place).listeners.discard(self.tell)
        problems, self._problems = self._problems, {}
        for place in places:
            if place not in self._watching:
                try:
                    watch = await self._watches.services(*place)
                except ForwardError as trouble:
                    self._problems[place] = trouble.problem
                    if problems.get(place) != trouble.problem:
                        self._board.notice(f"the services of {_named(place)}: {trouble.problem}")
                else:
                    watch.listeners.add(self.tell)
                    self._watching[place] = watch

    async def _tell_all(self, known: Sequence[Known], found: Found) -> None:
        ids: dict[str, set[str]] = {f"namespace {each.namespace}": set() for each in known}
        for forward in found.forwards:
            ids[f"namespace {forward.namespace}"].add(forward.id)
        new = {name: each.namespace for each in known if (name := f"namespace {each.namespace}") not in self.names}
        self.tell_change(ids, {name: await self._first(namespace, ids[name]) for name, namespace in new.items()})
        left_out = [each for each in found.left_out if each not in self._left_out]
        self._left_out = set(found.left_out)
        if left_out:
            self._board.notice(f"services that can't be forwarded: {some(left_out)}")
        self._tell_lost(found)

    async def _first(self, namespace: str, ids: set[str]) -> str:
        if ids:
            services = len({id.rpartition("/")[0] for id in ids})
            ones = f"{services} service{'s' if services > 1 else ''}, {len(ids)} port{'s' if len(ids) > 1 else ''}"
            return f"namespace {namespace}: {ones}; kubectl starts with the first connection to one of them"
        (watch, *_) = [each for each in self._watching.values() if each.namespace == namespace]
        try:
            await watch.questions.check_namespace()
        except ForwardError as trouble:
            return f"services: {trouble.problem}"
        return f"namespace {namespace} has no service to forward to yet"

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
            step = Counter(lost[id].next_step for id in new).most_common(1)[0][0]
            shown = [f"{id} ({lost[id].message})" for id in new]
            self._board.notice(f"services without a local port: {some(shown)}. {step}")


def _named(place: _Place) -> str:
    cluster, namespace = place
    words = [f"namespace {namespace}" if namespace else "the context's namespace"]
    if cluster.context:
        words.append(f"context {cluster.context}")
    return ", ".join(words)
