"""What a cluster offers to forward to: its namespaces, and in one of them the Services, workloads and pods with their
ports. For choosing one: each question is answered by the API server, and nothing is kept."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import trio
from msgspec import Struct

from kpf_supervise.api.errors import no_answer
from kpf_supervise.api.server import ApiServer
from kpf_supervise.discovery.api_objects import Container, ContainerPort, Name, ObjectList, ServicePort
from kpf_supervise.kubectl.answers import Malformed, decode
from kpf_supervise.model import ForwardError

_PAGE = 500  # objects per page of a listing
_KINDS = {
    "service": "/api/v1/namespaces/{}/services",
    "deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "statefulset": "/apis/apps/v1/namespaces/{}/statefulsets",
    "daemonset": "/apis/apps/v1/namespaces/{}/daemonsets",
    "pod": "/api/v1/namespaces/{}/pods",
}


class _Metadata(Struct):
    name: Name


class _Spec(Struct):
    ports: list[ServicePort] | None = None  # of a Service
    containers: list[Container] | None = None  # of a pod
    template: _Template | None = None  # of a workload


class _Template(Struct):
    spec: _Spec | None = None


class _Item(Struct):
    metadata: _Metadata
    spec: _Spec | None = None


async def namespaces(api: ApiServer) -> list[str]:
    """The names of all namespaces. Raises ForwardError; not every user may list them."""
    return sorted(item.metadata.name for item in await _items(api, "/api/v1/namespaces"))


async def targets(api: ApiServer, namespace: str) -> list[dict[str, Any]]:
    """What can be forwarded to in a namespace: `target` as in the file, and its TCP `ports` (`port`, `name`). A kind
    that the user may not list is left out. Raises ForwardError if no kind can be listed."""
    found: dict[str, list[_Item]] = {}
    failures: list[ForwardError] = []

    async def look(kind: str, path: str) -> None:
        try:
            found[kind] = await _items(api, path.format(quote(namespace, safe="")))
        except ForwardError as failure:
            failures.append(failure)

    async with trio.open_nursery() as nursery:
        for kind, path in _KINDS.items():
            nursery.start_soon(look, kind, path)
    if not found:
        raise failures[0]
    return [
        {"target": f"{kind}/{item.metadata.name}", "ports": _ports(item.spec)}
        for kind in _KINDS
        for item in sorted(found.get(kind, ()), key=lambda item: item.metadata.name)
    ]


def _ports(spec: _Spec | None) -> list[dict[str, Any]]:
    """Each port once, in the order of the object."""
    if spec is None:
        return []
    if spec.template is not None:
        return _ports(spec.template.spec)
    declared: list[ServicePort | ContainerPort] = list(spec.ports or ())
    declared += [port for container in spec.containers or () for port in container.ports or ()]
    numbers = [
        {"port": port.port if isinstance(port, ServicePort) else port.container_port, "name": port.name}
        for port in declared
        if port.protocol in (None, "TCP")  # kubectl forwards no other
    ]
    return [each for number, each in enumerate(numbers) if each not in numbers[:number]]


async def _items(api: ApiServer, path: str) -> list[_Item]:
    """The objects of a listing that can be read."""
    items: list[_Item] = []
    page = f"?limit={_PAGE}"
    while True:
        try:
            listing = decode(await api.read(f"{path}{page}"), ObjectList)
        except Malformed as error:
            raise ForwardError(no_answer(path, error)) from None
        for raw in listing.items or ():
            try:
                items.append(decode(raw, _Item))
            except Malformed:
                continue
        if not listing.metadata.next:
            return items
        page = f"?limit={_PAGE}&continue={quote(listing.metadata.next, safe='')}"
