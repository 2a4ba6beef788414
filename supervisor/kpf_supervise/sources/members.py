"""A forward for each pod of a target: which pods it has, and which number each of them gets. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from kpf_supervise.discovery.choice import STATEFUL, Destination, remote_port
from kpf_supervise.model import Forward, ForwardError, Target
from kpf_supervise.watching.pods import Pod

_Family = tuple[str, str] | None


class Member(NamedTuple):
    """A pod of the target, or one of a stateful set that will come back under this name."""

    name: str
    number: int
    family: _Family
    pod: Pod | None


def ordinal(name: str) -> int | None:
    """Of a pod of a stateful set."""
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isdecimal() and len(digits) < 9 else None


def members(pods: Iterable[Pod], before: Iterable[Member], expected: Mapping[str, range]) -> list[Member]:
    """The members now, by number. `before` are those that were found last; `expected` has the ordinals of stateful
    sets, by name.

    A pod of a stateful set has its ordinal. Any other pod has the lowest number that is free when it comes, in the
    order of creation, and keeps it while it is there.
    """
    known = {member.name: member for member in before}
    in_order = sorted(pods, key=lambda pod: (pod.created, pod.name))
    there = {pod.name: pod for pod in in_order if not pod.ended}
    found: dict[int, Member] = {}
    for number, pod in ((_fixed(pod, known), pod) for pod in there.values()):
        if number is not None and number not in found:
            found[number] = Member(pod.name, number, pod.family, pod)
    for member in known.values():
        if member.name not in there and member.number not in found and _returns(member, known, expected):
            found[member.number] = member._replace(pod=None)
    placed = {member.name for member in found.values()}
    for pod in there.values():
        if pod.name not in placed:
            number = next(number for number in range(len(found) + 1) if number not in found)
            found[number] = Member(pod.name, number, pod.family, pod)
    return [found[number] for number in sorted(found)]


def _fixed(pod: Pod, known: Mapping[str, Member]) -> int | None:
    if pod.name in known:
        return known[pod.name].number
    return ordinal(pod.name) if pod.family is not None and pod.family[0] == STATEFUL else None


def _returns(member: Member, known: Mapping[str, Member], expected: Mapping[str, range]) -> bool:
    """Where the replicas are not known, one returns if there is a higher ordinal: scaling down begins with that."""
    if member.family is None or member.family[0] != STATEFUL:
        return False
    if member.family[1] in expected:
        return ordinal(member.name) in expected[member.family[1]]
    return any(each.pod is not None and each.number > member.number for each in known.values())


def forwards_of(
    each: Forward, where: Destination, namespace: str, found: Iterable[Member], before: Mapping[str, Forward]
) -> tuple[list[Forward], list[str]]:
    """The forwards of all members for one declared port, and what can't be forwarded with the reason. `where` is the
    target as it was read; `before` are the forwards that were found last, by id."""
    name, _, port = each.id.partition("/")
    forwards, left_out = [], []
    for member in found:
        id = "/".join(filter(None, (name, str(member.number), port)))
        try:
            remote = _remote(where, member, each.remote, before.get(id))
        except ForwardError as error:
            left_out.append(f"{id} ({error.problem})")
            continue
        local = None if each.local is None else each.local + member.number
        if local is not None and local > 65535:
            left_out.append(f"{id} ({each.local}+{member.number} is above 65535)")
            continue
        target = Target("pod", member.name)
        forwards.append(
            replace(each, id=id, target=target, local=local, remote=remote, namespace=namespace, alone=True)
        )
    return forwards, left_out


def _remote(where: Destination, member: Member, remote: int | str, before: Forward | None) -> int | str:
    """A service's port is the pod's port behind it; for a pod that is away, the one that it had."""
    if where.service is None:
        return remote
    if member.pod is None:
        return before.remote if before is not None else remote
    return remote_port(where, member.pod, remote)
