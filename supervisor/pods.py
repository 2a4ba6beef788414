"""Pod events in, the pod to use out. Pure: objects of the API and values of our own, no clocks, no processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
from msgspec import Raw

from .model import Cause, Problem, Target, Trouble
from .objects import (
    Failure,
    Malformed,
    Metadata,
    Named,
    PodObject,
    PodStatus,
    Service,
    ServicePort,
    WatchEvent,
    Workload,
    decode,
)
from .scrub import scrub
from .selector import Selector, from_label_selector, from_map, parse_selector


@dataclass(frozen=True, slots=True)
class Pod:
    """What matters of a pod object."""

    name: str
    uid: str
    created: str  # RFC 3339, so it sorts as text
    labels: Mapping[str, str]
    ready: bool
    terminating: bool
    restarts: int
    family: tuple[str, str] | None  # the controller that would replace it: (kind, name)
    ports: Mapping[str, int]  # named container ports
    trouble: str  # why it is not ready, in the pod's own words; empty where it is

    @property
    def usable(self) -> bool:
        """A terminating pod stays Running and Ready for a while, but no new connection should go there."""
        return self.ready and not self.terminating

    @property
    def incarnation(self) -> tuple[str, int]:
        """Equal for as long as the same processes run: a new UID is another pod, a restart other processes."""
        return (self.uid, self.restarts)


def read_pod(data: bytes | Raw) -> Pod:
    """A Pod from the API's object. Raises Malformed."""
    item = decode(data, PodObject)
    meta, status = item.metadata, item.status
    condition = any(each.type == "Ready" and each.status == "True" for each in status.conditions or ())
    ready = condition and status.phase == "Running"
    sidecars = [each for each in item.spec.init_containers or () if each.restart_policy == "Always"]
    # a container's port counts before a sidecar's, and the first of a name: FindPort in pkg/api/v1/pod of Kubernetes
    ports: dict[str, int] = {}
    for container in (*(item.spec.containers or ()), *sidecars):
        for port in container.ports or ():
            if port.name and (port.protocol or "TCP") == "TCP":
                ports.setdefault(port.name, port.container_port)
    running = {each.name for each in sidecars}
    restarting = [
        *(status.container_statuses or ()),
        *(each for each in status.init_container_statuses or () if each.name in running),
    ]
    return Pod(
        name=meta.name,
        uid=meta.uid,
        created=meta.creation_timestamp or "",
        labels=meta.labels or {},
        ready=ready,
        terminating=meta.deletion_timestamp is not None,
        restarts=sum(each.restart_count for each in restarting),
        family=_family(meta),
        ports=ports,
        trouble="" if ready else scrub(_trouble(status)),
    )


def _family(meta: Metadata) -> tuple[str, str] | None:
    """A Deployment names its ReplicaSets NAME-HASH and puts HASH on the pods as pod-template-hash, so that the
    Deployment can be told without asking for the ReplicaSet (which may be gone, or forbidden to read)."""
    owner = next((each for each in meta.owner_references or () if each.controller), None)
    if owner is None:
        return None
    suffix = "-" + (meta.labels or {}).get("pod-template-hash", "")
    if owner.kind == "ReplicaSet" and suffix != "-" and owner.name.endswith(suffix):
        return ("Deployment", owner.name.removesuffix(suffix))
    return (owner.kind, owner.name)


_NOT_READY = "running, but not ready"
_PASSING = ("terminating", "Pending", _NOT_READY)  # what a healthy pod goes through


def _trouble(status: PodStatus) -> str:
    for container in [*(status.init_container_statuses or []), *(status.container_statuses or [])]:
        waiting = container.state.waiting if container.state else None
        if waiting and waiting.reason and waiting.reason not in ("ContainerCreating", "PodInitializing"):
            return waiting.reason
    for condition in status.conditions or ():
        if condition.type == "PodScheduled" and condition.status != "True":
            return f"{condition.reason or 'not scheduled'}: {condition.message or ''}".rstrip(": ")
    phase = status.phase or "Unknown"
    if phase == "Running":
        return _NOT_READY
    return f"{phase} ({status.reason})" if status.reason else phase  # Failed (Evicted), say


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a target's pods are found, and how its ports are numbered.

    `selector` is None for a pod named in full. `service` is the service object where ports are a service's.
    """

    target: Target
    selector: Selector | None = None
    service: Service | None = None


def path_of(target: Target, namespace: str) -> str | None:
    """The API path of the object that must be read before the target's pods are known; None where none must."""
    if target.kind in ("pod", "selector"):
        return None
    api = "api/v1" if target.kind == "service" else "apis/apps/v1"
    return f"/{api}/namespaces/{namespace}/{target.kind}s/{target.name}"


def destination(target: Target, data: bytes | Raw | None) -> Destination:
    """The Destination of a target; `data` is the object at `path_of`, or None. Raises Trouble (NO_SELECTOR),
    Malformed."""
    if target.kind == "pod":
        return Destination(target)
    if target.kind == "selector":
        return Destination(target, parse_selector(target.name))
    assert data is not None
    if target.kind != "service":
        try:
            selector = msgspec.to_builtins(decode(data, Workload).spec.selector)
            return Destination(target, from_label_selector(selector))
        except ValueError as error:
            raise Malformed(str(error)) from None
    service = decode(data, Service)
    spec = service.spec
    if spec.type == "ExternalName" or not spec.selector:
        kind = "is of type ExternalName" if spec.type == "ExternalName" else "has no selector"
        raise Trouble(
            Problem(
                Cause.NO_SELECTOR,
                f"{target} {kind}, so it leads to no pods",
                "Name the pod, the workload or a label selector instead",
            )
        )
    return Destination(target, from_map(spec.selector), service)


_STATEFUL = "StatefulSet"


@dataclass(frozen=True, slots=True)
class Choice:
    """The pod to use now, or None and why there is none. `family` is to be handed in again next time."""

    pod: Pod | None
    family: tuple[str, str] | None = None
    reason: str = ""
    stuck: bool = False  # the reason is not one that passes by itself
    missing: bool = False  # the pod named in full is not there, and nothing is known of a controller


def choose(
    where: Destination, pods: PodSet, current: Pod | None = None, family: tuple[str, str] | None = None
) -> Choice:
    """Ready and not terminating; `current` as long as it stays so; else the newest, but of a stateful set the one with
    the lowest ordinal: usually the primary.

    A pod named in full counts alone for as long as it is there; once it is gone or terminating, its family
    (learnt while it was there) counts, of a stateful set only the pod that takes its name. Asked at every change of a
    pod of the target, so that one that stays is found without a look at all the others.
    """
    now = pods.named(current.name) if current is not None else None
    stays = now if now is not None and current is not None and now.incarnation == current.incarnation else None
    if where.selector is not None:
        if stays is not None and stays.usable and where.selector.matches(stays.labels):
            return Choice(stays, family)
        candidates = [pod for pod in pods if where.selector.matches(pod.labels)]
    else:
        named = pods.named(where.target.name)
        family = (named and named.family) or family
        if named is None and family is None:
            return Choice(None, None, f"there is no pod {where.target.name}", missing=True)
        moved_on = current is not None and current.name != where.target.name
        if named is not None and not named.terminating and not moved_on:
            candidates = [named]
        elif stays is not None and stays.usable and family is not None and stays.family == family:
            return Choice(stays, family)
        else:
            candidates = [pod for pod in pods if family is not None and pod.family == family]
            if family is not None and family[0] == _STATEFUL:
                candidates = [pod for pod in candidates if pod.name == where.target.name]
    usable = [pod for pod in candidates if pod.usable]
    if not usable:
        reason, stuck = _why_none(candidates)
        return Choice(None, family, reason, stuck)
    return Choice(_preferred(usable), family)


def _preferred(usable: list[Pod]) -> Pod:
    newest = max(usable, key=lambda pod: (pod.created, pod.name))
    if newest.family is None or newest.family[0] != _STATEFUL:
        return newest
    return min((pod for pod in usable if pod.family == newest.family), key=_ordinal)


def _ordinal(pod: Pod) -> int:
    number = pod.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _why_none(candidates: list[Pod]) -> tuple[str, bool]:
    if not candidates:
        return "it has no pods", False
    newest = max(candidates, key=lambda pod: (not pod.terminating, pod.created))
    trouble = "terminating" if newest.terminating else newest.trouble
    others = f", and {len(candidates) - 1} more" if len(candidates) > 1 else ""
    return f"pod {newest.name} is {trouble}{others}", trouble not in _PASSING


def concerns(where: Destination, family: tuple[str, str] | None, pod: Pod) -> bool:
    """Whether a change of `pod` can change the choice."""
    if where.selector is not None:
        return where.selector.matches(pod.labels)
    return pod.name == where.target.name or (family is not None and pod.family == family)


def remote_port(where: Destination, pod: Pod, remote: int | str) -> int:
    """The container port behind `remote` in this pod. A service's port goes through its targetPort, but for a
    headless service a number stays as it is (as kubectl has it). Raises Trouble (NO_SUCH_PORT)."""
    if where.service is None:
        return remote if isinstance(remote, int) else _named(pod, remote)
    spec = where.service.spec
    # a tunnel is TCP; a port of another protocol may have the same number, as DNS has it
    ports = [port for port in spec.ports or () if (port.protocol or "TCP") == "TCP"]
    for port in ports:
        if remote in (port.port, port.name):
            if spec.cluster_ip == "None":
                return port.port
            behind = port.target_port or port.port
            return behind if isinstance(behind, int) else _named(pod, behind)
    others = [port for port in spec.ports or () if port not in ports and remote in (port.port, port.name)]
    raise Trouble(
        Problem(
            Cause.NO_SUCH_PORT,
            f"port {remote} of {where.target} is {others[0].protocol}, and only TCP can be forwarded"
            if others
            else f"{where.target} has no port {remote}",
            f"It has: {', '.join(map(_shown, ports))}" if ports else "It has no TCP ports at all",
        )
    )


def _shown(port: ServicePort) -> str:
    return f"{port.port} ({port.name})" if port.name else str(port.port)


def _named(pod: Pod, name: str) -> int:
    if name in pod.ports:
        return pod.ports[name]
    known = ", ".join(f"{name} ({number})" for name, number in pod.ports.items())
    raise Trouble(
        Problem(
            Cause.NO_SUCH_PORT,
            f"pod {pod.name} has no port named {name}",
            f"It has: {known}" if known else "It names no ports; give the number instead",
        )
    )


class Change(NamedTuple):
    """What a watch event told."""

    pod: Pod | None = None  # the one that changed, as it is or last was
    bookmark: bool = False
    unreadable: str = ""  # why the pod can't be read


class PodSet:
    """The pods of one namespace, by list and by watch events, with the resource version to go on from."""

    def __init__(self, pods: Iterable[Pod] = ()) -> None:
        self.version = ""
        self.replace(pods)

    def __iter__(self) -> Iterator[Pod]:
        return iter(self._pods.values())

    def named(self, name: str) -> Pod | None:
        return self._pods.get(name)

    def replace(self, pods: Iterable[Pod], version: str = "") -> None:
        """Take a listing as the whole truth."""
        self._pods = {pod.name: pod for pod in pods}
        self.version = version

    def apply(self, line: bytes) -> Change:
        """Take one watch event in. Raises Expired on a 410, Trouble on other errors, Malformed where the line is no
        event. A pod that can't be read counts as gone."""
        event = decode(line, WatchEvent)
        if event.type == "ERROR":
            failure = decode(event.object, Failure)
            if failure.code == 410:
                raise Expired
            raise Trouble(Problem(Cause.API_UNREACHABLE, f"the watch of pods failed: {scrub(failure.message)}"))
        meta = decode(event.object, Named).metadata
        self.version = meta.resource_version or self.version
        if event.type == "BOOKMARK":
            return Change(bookmark=True)
        try:
            pod = read_pod(event.object)
        except Malformed as error:
            return Change(self._pods.pop(meta.name, None), unreadable=str(error))
        known = self._pods.get(pod.name)
        if event.type != "DELETED":
            self._pods[pod.name] = pod
        elif known is not None and known.uid == pod.uid:  # else a namesake has already taken its place
            del self._pods[pod.name]
        return Change(pod if known != pod or event.type == "DELETED" else None)


class Expired(Exception):
    """The resource version to go on from is too old (HTTP 410): the pods must be listed anew."""
