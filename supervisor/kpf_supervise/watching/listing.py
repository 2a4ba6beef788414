"""What a namespace has to forward to, read from the API server's listings, for people who choose from it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import Raw, Struct

from kpf_supervise.kubectl.answers import Malformed, decode
from kpf_supervise.model import Target
from kpf_supervise.watching.api_objects import Name, ObjectList, PodSpec, ServicePort

_PORT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_Wanted = TypeVar("_Wanted")
_OVER = ("Succeeded", "Failed")  # phases of a pod whose processes have ended


class Port(NamedTuple):
    """A TCP port; `name` is empty if it has none."""

    number: int
    name: str


class Listed(NamedTuple):
    """Something to forward to, with the ports that it declares."""

    target: Target
    ports: tuple[Port, ...]


class _Labels(Struct):
    labels: dict[str, str] | None = None


class _Template(Struct):
    metadata: _Labels = msgspec.field(default_factory=_Labels)
    spec: PodSpec = msgspec.field(default_factory=PodSpec)


class _Spec(PodSpec, rename="camel"):
    """Of a service, a workload or a pod."""

    type: str | None = None
    selector: dict[str, Any] | None = None
    ports: list[ServicePort] | None = None
    template: _Template | None = None


class _Metadata(Struct):
    name: Name


class _Status(Struct):
    phase: str | None = None


class Named(Struct):
    metadata: _Metadata


class Forwardable(Named):
    """A service, a workload or a pod."""

    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


def read_names(data: bytes) -> list[str]:
    """The names in a listing, in order. Raises Malformed."""
    return sorted(item.metadata.name for item in _items(data, Named))


def read_targets(kind: str, data: bytes) -> list[Listed]:
    """The objects of this kind in a listing, by name. Left out is what leads to no pods: services without a selector,
    and pods that have ended. Raises Malformed."""
    found = [item for item in _items(data, Forwardable) if not _leads_nowhere(kind, item)]
    return [
        Listed(Target(kind, item.metadata.name), _ports(kind, item.spec))
        for item in sorted(found, key=lambda item: item.metadata.name)
    ]


def read_ports(kind: str, data: bytes) -> tuple[Port, ...]:
    """The ports that one object declares. Raises Malformed."""
    return _ports(kind, decode(data, Forwardable).spec)


class Workload(NamedTuple):
    target: Target
    labels: Mapping[str, str]  # of its pods
    ports: tuple[Port, ...]


def read_workload(kind: str, data: bytes | Raw) -> Workload:
    """A Deployment, StatefulSet or DaemonSet. Raises Malformed."""
    item = decode(data, Forwardable)
    labels = item.spec.template.metadata.labels if item.spec.template is not None else None
    return Workload(Target(kind, item.metadata.name), labels or {}, _ports(kind, item.spec))


def _items(data: bytes, wanted: type[_Wanted]) -> Iterator[_Wanted]:
    """An object that can't be read is left out."""
    for item in decode(data, ObjectList).items or ():
        with suppress(Malformed):
            yield decode(item, wanted)


def _leads_nowhere(kind: str, item: Forwardable) -> bool:
    if kind == "service":
        return item.spec.type == "ExternalName" or not item.spec.selector
    return kind == "pod" and item.status.phase in _OVER


def _ports(kind: str, spec: _Spec) -> tuple[Port, ...]:
    if kind == "service":
        return _named((port.port, port.name, port.protocol) for port in spec.ports or ())
    pod = spec if kind == "pod" else spec.template.spec if spec.template is not None else PodSpec()
    sidecars = [each for each in pod.init_containers or () if each.restart_policy == "Always"]
    listed = [port for container in (*(pod.containers or ()), *sidecars) for port in container.ports or ()]
    return _named((port.container_port, port.name, port.protocol) for port in listed)


def _named(ports: Iterable[tuple[int, str | None, str | None]]) -> tuple[Port, ...]:
    tcp = [(number, name or "") for number, name, protocol in ports if (protocol or "TCP") == "TCP"]
    return tuple(dict.fromkeys(Port(number, name if _PORT_NAME.fullmatch(name) else "") for number, name in tcp))
