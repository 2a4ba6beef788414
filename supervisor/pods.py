"""Pod events in, the pod to use out. Pure: dicts of the API and values of our own, no clocks, no processes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .model import Cause, Problem, Target, Trouble
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


def read_pod(item: Mapping[str, Any]) -> Pod:
    """A Pod from the API's object."""
    meta, status = item["metadata"], item.get("status", {})
    containers = status.get("containerStatuses") or []
    condition = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or [])
    ready = condition and status.get("phase") == "Running"
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        created=meta.get("creationTimestamp") or "",
        labels=meta.get("labels") or {},
        ready=ready,
        terminating=meta.get("deletionTimestamp") is not None,
        restarts=sum(c.get("restartCount", 0) for c in containers),
        family=_family(meta),
        ports={
            port["name"]: port["containerPort"]
            for container in item.get("spec", {}).get("containers") or []
            for port in container.get("ports") or []
            if "name" in port
        },
        trouble="" if ready else _trouble(status),
    )


_ITEMS = re.compile(r'"items"\s*:\s*')
_VERSION = re.compile(r'"resourceVersion"\s*:\s*"([^"]*)"')
_BEFORE_ITEM = re.compile(r"\s*[\[,]\s*(?=\{)")
_AFTER_ITEMS = re.compile(r"\s*(\[?\s*\]|null)")


def read_list(text: str) -> tuple[str, Iterator[Pod]]:
    """Of a PodList as the API server writes it, its metadata first: the resource version, and the pods, read one by
    one as they are asked for. As one object, a long list takes four times as long and the memory of all. Raises
    ValueError where it is none."""
    items = _ITEMS.search(text)
    if items is None:
        raise ValueError("a PodList without items")
    version = _VERSION.search(text, 0, items.start())
    return version[1] if version else "", _read_items(text, items.end())


def _read_items(text: str, position: int) -> Iterator[Pod]:
    decoder = json.JSONDecoder()
    while before := _BEFORE_ITEM.match(text, position):
        item, position = decoder.raw_decode(text, before.end())
        yield read_pod(item)
    if not _AFTER_ITEMS.match(text, position):
        raise ValueError("a PodList that was cut short")


def _family(meta: Mapping[str, Any]) -> tuple[str, str] | None:
    """A Deployment names its ReplicaSets NAME-HASH and puts HASH on the pods as pod-template-hash, so that the
    Deployment can be told without asking for the ReplicaSet (which may be gone, or forbidden to read)."""
    owner = next((o for o in meta.get("ownerReferences") or [] if o.get("controller")), None)
    if owner is None:
        return None
    suffix = "-" + meta.get("labels", {}).get("pod-template-hash", "")
    if owner["kind"] == "ReplicaSet" and suffix != "-" and owner["name"].endswith(suffix):
        return ("Deployment", owner["name"].removesuffix(suffix))
    return (owner["kind"], owner["name"])


_NOT_READY = "running, but not ready"
_PASSING = ("terminating", "Pending", _NOT_READY)  # what a healthy pod goes through


def _trouble(status: Mapping[str, Any]) -> str:
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        state = container.get("state", {})
        reason = (state.get("waiting") or {}).get("reason") or ""
        if reason and reason not in ("ContainerCreating", "PodInitializing"):
            return str(reason)
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] != "True":
            return scrub(f"{condition.get('reason', 'not scheduled')}: {condition.get('message', '')}").rstrip(": ")
    phase, reason = status.get("phase", "Unknown"), status.get("reason")  # Evicted, say
    if phase == "Running":
        return _NOT_READY
    return f"{phase} ({reason})" if reason else str(phase)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a target's pods are found, and how its ports are numbered.

    `selector` is None for a pod named in full. `service` is the service object where ports are a service's.
    """

    target: Target
    selector: Selector | None = None
    service: Mapping[str, Any] | None = None


def path_of(target: Target, namespace: str) -> str | None:
    """The API path of the object that must be read before the target's pods are known; None where none must."""
    if target.kind in ("pod", "selector"):
        return None
    api = "api/v1" if target.kind == "service" else "apis/apps/v1"
    return f"/{api}/namespaces/{namespace}/{target.kind}s/{target.name}"


def destination(target: Target, item: Mapping[str, Any] | None) -> Destination:
    """The Destination of a target; `item` is the object at `path_of`, or None. Raises Trouble (NO_SELECTOR)."""
    if target.kind == "pod":
        return Destination(target)
    if target.kind == "selector":
        return Destination(target, parse_selector(target.name))
    assert item is not None
    spec = item["spec"]
    if target.kind != "service":
        return Destination(target, from_label_selector(spec["selector"]))
    if spec.get("type") == "ExternalName" or not spec.get("selector"):
        kind = "is of type ExternalName" if spec.get("type") == "ExternalName" else "has no selector"
        raise Trouble(
            Problem(
                Cause.NO_SELECTOR,
                f"{target} {kind}, so it leads to no pods",
                "Name the pod, the workload or a label selector instead",
            )
        )
    return Destination(target, from_map(spec["selector"]), item)


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
    """Ready and not terminating; `current` as long as it stays so; else the newest.

    A pod named in full counts alone for as long as it is there; once it is gone or terminating, its family
    (learnt while it was there) counts. Asked at every change of a pod of the target, so that one that stays is found
    without a look at all the others.
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
    usable = [pod for pod in candidates if pod.usable]
    if not usable:
        reason, stuck = _why_none(candidates)
        return Choice(None, family, reason, stuck)
    return Choice(max(usable, key=lambda pod: (pod.created, pod.name)), family)


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
    spec = where.service["spec"]
    ports = spec.get("ports", [])
    for port in ports:
        if remote in (port["port"], port.get("name")):
            if spec.get("clusterIP") == "None":
                return int(port["port"])
            behind = port.get("targetPort") or port["port"]
            return behind if isinstance(behind, int) else _named(pod, behind)
    known = ", ".join(f"{port['port']} ({port['name']})" if port.get("name") else str(port["port"]) for port in ports)
    raise Trouble(
        Problem(
            Cause.NO_SUCH_PORT,
            f"{where.target} has no port {remote}",
            f"It has: {known}" if known else "It has no ports at all",
        )
    )


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

    def apply(self, event: Mapping[str, Any]) -> Pod | None:
        """Take one watch event in; returns the pod that changed, as it is or last was. Raises Expired on a 410,
        Trouble on other errors."""
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            if item.get("code") == 410:
                raise Expired
            raise Trouble(Problem(Cause.API_UNREACHABLE, f"the watch of pods failed: {item.get('message', '')}"))
        self.version = item["metadata"].get("resourceVersion", self.version)
        if kind == "BOOKMARK":
            return None
        pod = read_pod(item)
        known = self._pods.get(pod.name)
        if kind != "DELETED":
            self._pods[pod.name] = pod
        elif known is not None and known.uid == pod.uid:  # else a namesake has already taken its place
            del self._pods[pod.name]
        return pod if known != pod or kind == "DELETED" else None


class Expired(Exception):
    """The resource version to go on from is too old (HTTP 410): the pods must be listed anew."""
