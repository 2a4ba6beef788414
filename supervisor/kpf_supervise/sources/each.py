"""Lists a forward for each pod of the targets that the file declares with `each: true`, and follows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import trio

from kpf_supervise.discovery.choice import STATEFUL
from kpf_supervise.discovery.resolver import TargetResolver
from kpf_supervise.events.board import Board
from kpf_supervise.kubectl.answers import Malformed, decode
from kpf_supervise.model import FINAL, Cause, Cluster, Forward, ForwardError, Problem, Target
from kpf_supervise.sources.following import Following, Put, some
from kpf_supervise.sources.members import Member, forwards_of, members
from kpf_supervise.watching.api_objects import StatefulSet
from kpf_supervise.watching.watches import Watches

_Key = tuple[Cluster, str | None, Target]


@dataclass(slots=True)
class _Followed:
    """One target."""

    resolver: TargetResolver
    members: list[Member] = field(default_factory=list)
    known: bool = False
    problem: Problem | None = None  # why it is not


class EachSource(Following):
    def __init__(self, watches: Watches, board: Board, put: Put) -> None:
        super().__init__(board, put)
        self._watches = watches
        self._declared: tuple[Forward, ...] = ()
        self._targets: dict[_Key, _Followed] = {}
        self._forwards: dict[str, Forward] = {}  # as listed last
        self._left_out: set[str] = set()  # told

    def want(self, declared: Iterable[Forward]) -> None:
        """These forwards with `each` from now on."""
        self._declared = tuple(declared)
        self.failures = 0
        self.tell()

    @property
    def missing(self) -> Mapping[str, Problem | None]:
        found: dict[str, Problem | None] = {}
        for forward in self._declared:
            target = self._targets.get(_key(forward))
            if target is None or not target.known:
                found[f"the pods of {_name(forward)}"] = target.problem if target is not None else None
        return found

    @property
    def clusters(self) -> set[Cluster]:
        return {forward.cluster for forward in self._declared}

    async def update(self) -> bool:
        wanted = {_key(forward): forward for forward in self._declared}
        for key in self._targets.keys() - wanted.keys():
            self._targets.pop(key).resolver.close()
        async with trio.open_nursery() as nursery:
            for key, forward in wanted.items():
                if key not in self._targets:
                    self._targets[key] = _Followed(TargetResolver(forward, self._watches, self.tell))
                nursery.start_soon(self._look, self._targets[key], forward)
        await self._list()
        targets = self._targets.values()
        return all(target.known and all(each.pod is not None for each in target.members) for target in targets)

    async def _look(self, target: _Followed, forward: Forward) -> None:
        """Find the members as they are now."""
        resolver = target.resolver
        if resolver.sight().where is None:
            await resolver.look(again=False, pod=False)
        sight = resolver.sight()
        problem = sight.failure or sight.problem or resolver.forbidden
        if sight.where is None or not sight.listed:
            if problem is not None and problem.cause in FINAL and problem != target.problem:  # else an outage is told
                self._board.notice(f"{_name(forward)}: {problem}")
            target.problem = problem
            return
        assert sight.where.selector is not None
        target.known, target.problem = True, None
        matched = [pod for pod in sight.pods if sight.where.selector.matches(pod.labels)]
        there = {pod.name for pod in matched if not pod.ended}
        sets = (
            {each.family[1] for each in target.members if each.family and each.family[0] == STATEFUL}
            if any(each.name not in there for each in target.members)
            else set()
        )
        expected = {name: found for name in sets if (found := await self._expected(forward, name)) is not None}
        target.members = members(matched, target.members, expected)

    async def _expected(self, forward: Forward, name: str) -> range | None:
        """The ordinals that a stateful set should have. None if that can't be known now."""
        try:
            questions = await self._watches.questions(forward.cluster, forward.namespace)
            data = await questions.ask(f"{questions.path_of_all('statefulsets')}/{name}")
            spec = decode(data, StatefulSet).spec
        except ForwardError as trouble:
            return range(0) if trouble.problem.cause is Cause.NO_SUCH_OBJECT else None
        except Malformed:
            return None
        start = spec.ordinals.start if spec.ordinals is not None else 0
        return range(start, start + (1 if spec.replicas is None else spec.replicas))

    async def _list(self) -> None:
        ids: dict[str, list[str]] = {}
        first: dict[str, str] = {}
        found: dict[str, Forward] = {}
        left_out: list[str] = []
        for forward in self._declared:
            target = self._targets[_key(forward)]
            sight = target.resolver.sight()
            if not target.known or sight.where is None:
                continue
            more, out = forwards_of(forward, sight.where, sight.namespace or "", target.members, self._forwards)
            found |= {each.id: each for each in more}
            left_out += out
            name = _name(forward)
            ids.setdefault(name, []).extend(each.id for each in more)
            first[name] = f"{name}: {forward.target} has {_count(len(target.members))}{_listed(ids[name])}"
        self._forwards = found
        await self._put(list(found.values()))
        self.tell_change({name: set(each) for name, each in ids.items()}, first)
        new = [each for each in left_out if each not in self._left_out]
        self._left_out = set(left_out)
        if new:
            self._board.notice(f"pods that can't be forwarded: {some(new)}")


def _key(forward: Forward) -> _Key:
    return forward.cluster, forward.namespace, forward.target


def _name(forward: Forward) -> str:
    return forward.id.partition("/")[0]


def _count(pods: int) -> str:
    return f"{pods or 'no'} pod{'s' if pods != 1 else ''}"


def _listed(ids: list[str]) -> str:
    return f": {some(ids)}" if ids else " yet"
