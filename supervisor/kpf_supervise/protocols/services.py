"""From a name to what is forwarded: reads the service, and the pods of a headless one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from msgspec import Struct

from kpf_supervise.kubectl.answers import Malformed, decode
from kpf_supervise.model import Target
from kpf_supervise.protocols.names import Name
from kpf_supervise.protocols.refusal import Refused, Why
from kpf_supervise.watching.api_objects import Name as ObjectName
from kpf_supervise.watching.api_objects import ObjectList, Service, ServicePort

_HTTP = 80


@dataclass(frozen=True, slots=True)
class Destination:
    """What a name leads to; `host` is its canonical form without the port."""

    target: Target
    namespace: str
    port: int
    host: str

    @property
    def id(self) -> str:
        return f"proxy/{self.host}:{self.port}"


def read_service(name: Name, data: bytes) -> Service:
    """The service of a name in full. Raises Malformed, and Refused if nothing can be forwarded to it."""
    service = decode(data, Service)
    shown, spec = _shown(name), service.spec
    if spec.type == "ExternalName":
        raise Refused(
            Why.NOT_FORWARDABLE,
            f"service {shown} is of type ExternalName: it is another name of a host outside the cluster, and leads to "
            "no pods.",
        )
    if not spec.selector:
        raise Refused(
            Why.NOT_FORWARDABLE,
            f"service {shown} has no selector, so its endpoints are not known to be pods. Forward to a pod by name "
            "instead, in a file.",
        )
    if name.pod is not None and spec.cluster_ip != "None":
        raise Refused(Why.NO_SUCH_NAME, f"service {shown} is not headless, so its pods have no names of their own.")
    return service


def to_service(name: Name, service: Service) -> Destination:
    """The port of the service that a name in full leads to. Raises Refused."""
    assert name.namespace is not None
    port = _port(name, service)
    return Destination(Target("service", name.service), name.namespace, port, _shown(name))


def to_pod(name: Name, service: Service, pod: str) -> Destination:
    """The port of one pod. As in the cluster, any port of it can be reached, also one that the service lacks."""
    assert name.namespace is not None
    port = name.port if isinstance(name.port, int) else _port(name, service)
    host = f"{name.pod}.{_shown(name)}"
    return Destination(Target("pod", pod), name.namespace, port, host)


def _port(name: Name, service: Service) -> int:
    ports = service.spec.ports or []
    tcp = [port for port in ports if (port.protocol or "TCP") == "TCP"]
    if name.port is None:
        if (found := _for_browsers(tcp)) is not None:
            return found.port
        raise Refused(
            Why.NO_SUCH_PORT,
            f"service {_shown(name)} has no port named http and no port 80: choose one of its ports, as in "
            f"http://PORT.{_shown(name)}.localhost. {_those(tcp)}",
        )
    for port in tcp:
        if name.port in (port.port, port.name):
            return port.port
    other = next((port for port in ports if name.port in (port.port, port.name)), None)
    if other is not None:
        raise Refused(
            Why.NOT_FORWARDABLE,
            f"port {name.port} of service {_shown(name)} is {other.protocol}, and only TCP can be forwarded. "
            f"{_those(tcp)}",
        )
    raise Refused(Why.NO_SUCH_PORT, f"service {_shown(name)} has no port {name.port}. {_those(tcp)}")


def _for_browsers(ports: list[ServicePort]) -> ServicePort | None:
    """The port named http, else 80, else the only one."""
    named = [port for port in ports if port.name == "http"]
    usual = [port for port in ports if port.port == _HTTP]
    return next(iter(named or usual), ports[0] if len(ports) == 1 else None)


def _those(ports: Iterable[ServicePort]) -> str:
    shown = ", ".join(f"{port.port} ({port.name})" if port.name else str(port.port) for port in ports)
    return f"It has: {shown}." if shown else "It has no TCP ports at all."


def _shown(name: Name) -> str:
    return f"{name.service}.{name.namespace}"


class _PodSpec(Struct):
    hostname: str | None = None
    subdomain: str | None = None


class _Metadata(Struct):
    name: ObjectName
    labels: dict[str, str] | None = None


class _Pod(Struct):
    metadata: _Metadata
    spec: _PodSpec = msgspec.field(default_factory=_PodSpec)


def is_pod_of(service: Service, data: bytes) -> bool:
    """Whether the service selects this pod. Raises Malformed."""
    labels = decode(data, _Pod).metadata.labels or {}
    return (service.spec.selector or {}).items() <= labels.items()


def find_pod(name: Name, listing: bytes) -> str:
    """The pod among those of the service: by its own name, or by its hostname where its subdomain is the service, as in
    the cluster's DNS. Raises Malformed and Refused."""
    by_hostname = ""
    for item in decode(listing, ObjectList).items or ():
        try:
            pod = decode(item, _Pod)
        except Malformed:
            continue  # one that can't be read does not affect the others
        if pod.metadata.name == name.pod:
            return pod.metadata.name
        if pod.spec.hostname == name.pod and pod.spec.subdomain == name.service:
            by_hostname = pod.metadata.name
    if by_hostname:
        return by_hostname
    raise Refused(Why.NO_SUCH_NAME, f"service {_shown(name)} has no pod {name.pod} now.")
