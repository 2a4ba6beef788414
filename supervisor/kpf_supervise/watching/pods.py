"""Pods, read from the API's objects. Pure: no clocks, no processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from msgspec import Raw

from kpf_supervise.kubectl.answers import decode
from kpf_supervise.text import redact
from kpf_supervise.watching.api_objects import Metadata, PodObject, PodStatus
from kpf_supervise.watching.objects import Kind, ObjectSet


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
    ended: bool = False  # its processes have ended for good

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
        ended=status.phase in ("Succeeded", "Failed"),
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


PODS = Kind("pods", read_pod, "a forward notices a restart only when kubectl does")


class PodSet(ObjectSet[Pod]):
    """The pods of one namespace."""

    def __init__(self, pods: Iterable[Pod] = ()) -> None:
        super().__init__(PODS, pods)
