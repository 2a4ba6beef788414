"""The parts of the API's objects that we read, validated on input. Pure.

Every response becomes one of these or raises Malformed: a gateway or a login page may answer instead of the API server,
and a newer API server may send something unexpected. Lists and events keep their objects undecoded (Raw), so that an
unreadable object does not affect the others.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

# DNS-1123 subdomain: a pod's name goes into kubectl's command line and onto terminals.
Name = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")]
Port = Annotated[int, Meta(ge=1, le=65535)]


class _Object(Struct, rename="camel"):
    """Unknown fields are ignored. Go writes an empty list or map as null, or omits it."""


class Owner(_Object):
    kind: str
    name: str
    controller: bool | None = None


class Metadata(_Object):
    name: Name
    uid: str
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    owner_references: list[Owner] | None = None


class ContainerPort(_Object):
    container_port: Port
    name: str | None = None
    protocol: str | None = None  # TCP if omitted


class Container(_Object):
    name: str
    ports: list[ContainerPort] | None = None
    restart_policy: str | None = None  # Always for an init container: a sidecar


class PodSpec(_Object):
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None


class Waiting(_Object):
    reason: str | None = None


class ContainerState(_Object):
    waiting: Waiting | None = None


class ContainerStatus(_Object):
    name: str = ""
    restart_count: int = 0
    state: ContainerState | None = None


class Condition(_Object):
    type: str
    status: str
    reason: str | None = None
    message: str | None = None


class PodStatus(_Object):
    phase: str | None = None
    reason: str | None = None
    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None
    init_container_statuses: list[ContainerStatus] | None = None


class PodObject(_Object):
    metadata: Metadata
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class ServicePort(_Object):
    port: Port
    name: str | None = None
    protocol: str | None = None  # TCP if omitted
    target_port: Annotated[int, Meta(ge=0, le=65535)] | str | None = None


class ServiceSpec(_Object):
    selector: dict[str, str] | None = None
    type: str | None = None
    cluster_ip: str | None = msgspec.field(default=None, name="clusterIP")
    external_name: str | None = None
    ports: list[ServicePort] | None = None


class Service(_Object):
    spec: ServiceSpec


class ServiceObject(_Object):
    metadata: Metadata
    spec: ServiceSpec = msgspec.field(default_factory=ServiceSpec)


class Expression(_Object):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[str] | None = None


class LabelSelector(_Object):
    match_labels: dict[str, str] | None = None
    match_expressions: list[Expression] | None = None


class WorkloadSpec(_Object):
    selector: LabelSelector


class Workload(_Object):
    """A Deployment, StatefulSet, DaemonSet or ReplicaSet."""

    spec: WorkloadSpec


class Ordinals(_Object):
    start: int = 0


class StatefulSetSpec(_Object):
    replicas: int | None = None  # 1 if omitted
    ordinals: Ordinals | None = None


class StatefulSet(_Object):
    spec: StatefulSetSpec


class ListMeta(_Object):
    resource_version: str = ""
    next: str | None = msgspec.field(default=None, name="continue")  # set if more pages follow


class ObjectList(_Object):
    items: list[Raw] | None
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)


class _NameOnly(_Object):
    name: str = ""
    resource_version: str = ""


class Named(_Object):
    """Any object. A pod that can't be read may have a name, and still advances the watch's resource version."""

    metadata: _NameOnly = msgspec.field(default_factory=_NameOnly)


class WatchEvent(_Object):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: Raw


class Failure(_Object):
    """A Status sent instead of the requested object."""

    code: int = 0
    message: str = ""
