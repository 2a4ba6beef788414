"""Pods, read from the API's objects and watch events. Pure: no clocks, no processes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec import Raw

from kpf_supervise.discovery.api_objects import Failure, Metadata, Named, PodObject, PodStatus, WatchEvent
from kpf_supervise.kubectl.answers import Malformed, decode
from kpf_supervise.model import Cause, ForwardError, Problem
from kpf_supervise.text import redact


@dataclass(frozen=True, slots=True)
class Pod:
    """The parts of a pod object that we use."""

    name: str
    uid: str
    created: str  # RFC 3339, so it sorts as text
    labels: Mapping[str, str]
    ready: bool
    terminating: bool
    restarts: int
    family: tuple[str, str] | None  # the controller that would replace it: (kind, name)
    ports: Mapping[str, int]  # named container ports
    trouble: str  # why it is not ready, in the pod's own words; empty if it is

    @property
    def usable(self) -> bool:
        """A terminating pod stays Running and Ready for a while, but gets no new connections."""
        return self.ready and not self.terminating

    @property
    def incarnation(self) -> tuple[str, int]:
        """Equal while the same processes run: a new UID is another pod, and a restart means new processes."""
        return (self.uid, self.restarts)


def read_pod(data: bytes | Raw) -> Pod:
    """Read a Pod from the API's object. Raises Malformed."""
    item = decode(data, PodObject)
    meta, status = item.metadata, item.status
    condition = any(each.type == "Ready" and each.status == "True" for each in status.conditions or ())
    ready = condition and status.phase == "Running"
    sidecars = [each for each in item.spec.init_containers or () if each.restart_policy == "Always"]
    # containers come before sidecars, and the first port of a name wins: FindPort in Kubernetes' pkg/api/v1/pod
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
        trouble="" if ready else redact(_trouble(status)),
    )


def _family(meta: Metadata) -> tuple[str, str] | None:
    """A Deployment names its ReplicaSets NAME-HASH and labels the pods with HASH as pod-template-hash. So the
    Deployment is known without reading the ReplicaSet, which may be gone or forbidden."""
    owner = next((each for each in meta.owner_references or () if each.controller), None)
    if owner is None:
        return None
    suffix = "-" + (meta.labels or {}).get("pod-template-hash", "")
    if owner.kind == "ReplicaSet" and suffix != "-" and owner.name.endswith(suffix):
        return ("Deployment", owner.name.removesuffix(suffix))
    return (owner.kind, owner.name)


_NOT_READY = "running, but not ready"
PASSING = ("terminating", "Pending", _NOT_READY)  # what a healthy pod passes through


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
    return f"{phase} ({status.reason})" if status.reason else phase  # e.g. Failed (Evicted)


class Change(NamedTuple):
    """The result of one watch event."""

    pod: Pod | None = None  # the changed pod, as it is now or was last
    bookmark: bool = False
    unreadable: str = ""  # why the pod can't be read


class PodSet:
    """The pods of one namespace, from listings and watch events, with the resource version to continue from."""

    def __init__(self, pods: Iterable[Pod] = ()) -> None:
        self.version = ""
        self.replace(pods)

    def __iter__(self) -> Iterator[Pod]:
        return iter(self._pods.values())

    def derived(self, key: Hashable, compute: Callable[[], Sequence[Pod]]) -> Sequence[Pod]:
        """What `compute` makes of these pods. It is computed once, until one of them changes: each connection asks."""
        found = self._derived.get(key)
        if found is None:
            found = self._derived[key] = compute()
        return found

    def named(self, name: str) -> Pod | None:
        return self._pods.get(name)

    def replace(self, pods: Iterable[Pod], version: str = "") -> None:
        """Replace all pods by those of a listing."""
        self._pods = {pod.name: pod for pod in pods}
        self._derived: dict[Hashable, Sequence[Pod]] = {}
        self.version = version

    def apply(self, line: bytes) -> Change:
        """Apply one watch event. Raises Expired on a 410, ForwardError on other errors, Malformed if the line is not an
        event. A pod that can't be read counts as gone."""
        event = decode(line, WatchEvent)
        if event.type == "ERROR":
            failure = decode(event.object, Failure)
            if failure.code == 410:
                raise Expired
            raise ForwardError(Problem(Cause.API_UNREACHABLE, f"the watch of pods failed: {redact(failure.message)}"))
        meta = decode(event.object, Named).metadata
        self.version = meta.resource_version or self.version
        if event.type == "BOOKMARK":
            return Change(bookmark=True)
        self._derived.clear()
        try:
            pod = read_pod(event.object)
        except Malformed as error:
            return Change(self._pods.pop(meta.name, None), unreadable=str(error))
        known = self._pods.get(pod.name)
        if event.type != "DELETED":
            self._pods[pod.name] = pod
        elif known is not None and known.uid == pod.uid:  # else a new pod of that name already exists
            del self._pods[pod.name]
        return Change(pod if known != pod or event.type == "DELETED" else None)


class Expired(Exception):
    """The resource version to continue from is too old (HTTP 410): the pods must be listed again."""
