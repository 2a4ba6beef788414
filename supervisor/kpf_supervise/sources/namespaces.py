"""The forwards of whole namespaces: from the services that are there to a forward for each of their ports. Pure.

What is assigned here is the same at each start: it follows from the names, and where two would get the same, from their
order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import NamedTuple

from kpf_supervise.config.contents import ServiceGroup
from kpf_supervise.config.selectors import parse_selector
from kpf_supervise.model import Forward, Target
from kpf_supervise.watching.services import Service, ServicePort

_FREE = range(20_000, 30_000)  # below the ports that systems give to outgoing connections, and below NodePorts


class Known(NamedTuple):
    """One group, and what is known of its namespace."""

    group: ServiceGroup
    namespace: str
    services: Iterable[Service]


@dataclass(slots=True)
class Addresses:
    """An address of 127.0.0.0/8 for each service. One that has been given is kept while its service is there."""

    given: dict[str, str] = field(default_factory=dict)  # by NAMESPACE/SERVICE

    def assign(self, names: Iterable[str]) -> None:
        wanted = sorted(set(names))
        self.given = {name: self.given[name] for name in wanted if name in self.given}
        taken = set(self.given.values())
        for name in wanted:
            if name not in self.given:
                number = _hash(name)
                while (address := _address(number)) in taken:
                    number += 1
                taken.add(address)
                self.given[name] = address


class Found(NamedTuple):
    forwards: list[Forward]
    left_out: list[str]  # what can't be forwarded, each with the reason


def forwards_of(known: Sequence[Known], addresses: Addresses) -> Found:
    """If several groups have the same service, the first one counts."""
    found = Found([], [])
    chosen: dict[str, tuple[ServiceGroup, str, Service]] = {}
    for group, namespace, services in known:
        for service in sorted(services, key=lambda each: each.name):
            if not _wanted(group, service):
                continue
            name = f"{namespace}/{service.name}"
            first, _, _ = chosen.setdefault(name, (group, namespace, service))
            if first.template.cluster != group.template.cluster:
                where = group.template.cluster.context or "the current one"
                found.left_out.append(f"{name} (context {where}: another context has that name; use a second file)")
    addresses.assign(name for name, (group, _, _) in chosen.items() if group.each_address)
    numbers = set[int]()
    for name, (group, namespace, service) in chosen.items():
        if why := leads_nowhere(service):
            found.left_out.append(f"{name} ({why})")
            continue
        address = addresses.given.get(name, group.template.address)
        base = replace(group.template, namespace=namespace, address=address, target=Target("service", service.name))
        for port in service.ports:
            id = f"{name}/{port.name or port.number}"
            if port.protocol != "TCP":
                found.left_out.append(f"{id} ({port.protocol}: kubectl forwards TCP only)")
            elif group.offset is not None and port.number + group.offset > 65535:
                found.left_out.append(f"{id} ({port.number}+{group.offset} is above 65535)")
            else:
                found.forwards.append(_forward(base, id, port, group.offset, numbers))
    return found


def _forward(base: Forward, id: str, port: ServicePort, offset: int | None, numbers: set[int]) -> Forward:
    local = None if offset is None else port.number + offset
    prefers = _free(id, numbers) if local is None else None
    return replace(base, id=id, remote=port.number, local=local, prefers=prefers)


def _wanted(group: ServiceGroup, service: Service) -> bool:
    if any(fnmatchcase(service.name, pattern) for pattern in group.exclude):
        return False
    return not group.selector or parse_selector(group.selector).matches(service.labels)


def leads_nowhere(service: Service) -> str:
    """Why it can't be forwarded, and what else would do."""
    if service.external:
        return f"of type ExternalName: connect to {service.external} itself"
    if not service.selects:
        return "without a selector, so without pods: connect to its endpoints, or forward to a pod"
    return "" if service.ports else "without ports: forward to its pods"


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _address(number: int) -> str:
    """Of 127.1.0.1 to 127.254.255.254: what has a meaning of its own (127.0.x.x, x.0 and x.255) is left out."""
    number, last = divmod(number, 254)
    second, third = divmod(number % (254 * 256), 256)
    return f"127.{second + 1}.{third}.{last + 1}"


def _free(id: str, numbers: set[int]) -> int:
    """A port number for `id` that is not in `numbers`; it is added to them."""
    number = _hash(id) % len(_FREE)
    for _ in _FREE:
        if _FREE[number] not in numbers:
            break
        number = (number + 1) % len(_FREE)
    numbers.add(_FREE[number])
    return _FREE[number]
