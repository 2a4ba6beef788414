"""Services, read from the API's objects. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from msgspec import Raw

from kpf_supervise.kubectl.answers import decode
from kpf_supervise.text import one_line
from kpf_supervise.watching.api_objects import ServiceObject
from kpf_supervise.watching.objects import Kind

_PORT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class ServicePort(NamedTuple):
    number: int
    name: str  # "" if it has none, or one that the API would not accept
    protocol: str  # TCP, UDP or SCTP


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of a service object that we use."""

    name: str
    uid: str
    labels: Mapping[str, str]
    ports: tuple[ServicePort, ...]
    selects: bool  # it has a selector, so it leads to pods
    external: str  # the name that a service of type ExternalName stands for


def read_service(data: bytes | Raw) -> Service:
    """Read a Service from the API's object. Raises Malformed."""
    item = decode(data, ServiceObject)
    spec = item.spec
    ports = [(port.port, port.name or "", (port.protocol or "TCP").upper()) for port in spec.ports or ()]
    return Service(
        name=item.metadata.name,
        uid=item.metadata.uid,
        labels=item.metadata.labels or {},
        ports=tuple(
            ServicePort(number, name if _PORT_NAME.fullmatch(name) else "", one_line(protocol)[:8])
            for number, name, protocol in ports
        ),
        selects=bool(spec.selector) and spec.type != "ExternalName",
        external=one_line(spec.external_name or "")[:253] if spec.type == "ExternalName" else "",
    )


SERVICES = Kind(
    "services",
    read_service,
    "those that come and go are noticed every 5 minutes",
    "none of them is forwarded until that is allowed, which is tried every 5 minutes",
)
