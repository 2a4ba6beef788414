"""A configuration file made from what a namespace has to forward to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Raw

from kpf_supervise.config.selectors import from_map
from kpf_supervise.discovery.choice import unmapped
from kpf_supervise.importing.found import Entry, Found
from kpf_supervise.importing.writing import write
from kpf_supervise.kubectl.answers import decode
from kpf_supervise.loading.loader import LARGEST
from kpf_supervise.sources.namespaces import leads_nowhere
from kpf_supervise.watching import api_objects
from kpf_supervise.watching.listing import Port, Workload
from kpf_supervise.watching.services import Service, read_service

_PRIVILEGED = 1024  # only root may listen below
_RAISED = 8000  # what is added to such a port: 80 becomes 8080, 443 becomes 8443

_Local = Mapping[tuple[str, int], int | None]  # by name of the target and remote port


class Place(NamedTuple):
    """Where the services are. What is empty is not written into the file."""

    context: str
    namespace: str
    kubeconfig: str = ""


class Offer(NamedTuple):
    """A service, the labels of its pods, and their ports (by those of the service) where kubectl does not map them."""

    service: Service
    selector: Mapping[str, str]
    unmapped: Mapping[int, int | str]


def read_offer(data: bytes | Raw) -> Offer:
    """Read a Service from the API's object. Raises Malformed."""
    service = decode(data, api_objects.Service)
    behind = {port.port: each for port in service.spec.ports or () if (each := unmapped(service, port)) is not None}
    return Offer(read_service(data), service.spec.selector or {}, behind)


class Made(NamedTuple):
    """A file."""

    text: str
    problem: str  # why there is no text; empty if there is


def file_of(
    offers: Collection[Offer], workloads: Sequence[Workload], place: Place, taken: Callable[[int], bool]
) -> Made:
    """`taken`: whether another program of this machine has a local port."""
    in_order = sorted(offers, key=lambda each: each.service.name)
    leading = [each for each in in_order if not _why_not(each.service)]
    unserved = [each for each in workloads if each.ports and not any(_leads_to(offer, each) for offer in offers)]
    wanted = [(f"service/{each.service.name}", port.number) for each in leading for port in _tcp(each.service)]
    wanted += [(str(each.target), port.number) for each in unserved for port in each.ports]
    local = local_ports(wanted, taken)

    found = Found(tool="kubectl", head=_head(place), left="left out", defaults={"lazy": "true"})
    found.top = {name: value for name, value in place._asdict().items() if value}
    found.lost = [(f"service/{each.service.name}", why) for each in in_order if (why := _why_not(each.service))]
    found.forwards = [
        _of_service(offer, [each for each in workloads if _leads_to(offer, each)], local) for offer in leading
    ]
    for workload in unserved:
        entry = _entry(str(workload.target), workload.ports, local)
        entry.refused = "no service leads to it. To forward to it, remove the # from these lines"
        found.forwards.append(entry)
    written = write(found, "")
    if not written.forwards:
        return Made("", _nothing(place, written.lost))
    if len(written.text.encode()) > LARGEST:
        step = f"Write this into a file instead: services: [{{namespace: {place.namespace}}}]"
        return Made("", f"its {len(leading)} services make a file of more than 200 kB, and no more is read. {step}")
    return Made(written.text, "")


def local_ports(wanted: Iterable[tuple[str, int]], taken: Callable[[int], bool]) -> dict[tuple[str, int], int | None]:
    """A local port for each remote port of a target: the same number where that can be, else the next one that is free;
    None if none is. The order decides only between those that want the same number."""
    found: dict[tuple[str, int], int | None] = {}
    used: set[int] = set()
    others: list[tuple[str, int]] = []
    for each in dict.fromkeys(wanted):
        number = each[1]
        if number < _PRIVILEGED or number in used or taken(number):
            others.append(each)
        else:
            found[each] = number
            used.add(number)
    for each in others:
        begin = each[1] + _RAISED if each[1] < _PRIVILEGED else each[1]
        found[each] = next((number for number in range(begin, 65536) if number not in used and not taken(number)), None)
        used.add(found[each] or 0)
    return found


def _entry(target: str, ports: Iterable[Port], local: _Local) -> Entry:
    entry = Entry(where=target, name=target.rpartition("/")[2], options={"target": target})
    entry.options["ports"] = [f"{local[target, port.number] or ''}:{_remote(port)}" for port in ports]
    return entry


def _of_service(offer: Offer, workloads: Iterable[Workload], local: _Local) -> Entry:
    """`workloads`: those that it leads to."""
    service = offer.service
    entry = _entry(f"service/{service.name}", _tcp(service), local)
    others = [port for port in service.ports if port.protocol != "TCP"]
    entry.lost = [f"port {port.number}, {port.protocol}: kubectl forwards TCP only" for port in others]
    numbers = {port.name: port.number for workload in workloads for port in workload.ports}
    if any(numbers.get(str(behind), behind) != number for number, behind in offer.unmapped.items()):
        del entry.options["target"]
        entry.options["selector"] = ",".join(f"{key}={value}" for key, value in sorted(offer.selector.items()))
        entry.options["ports"] = [
            f"{local[entry.where, port.number] or ''}:{offer.unmapped.get(port.number, port.number)}"
            for port in _tcp(service)
        ]
        entry.lost.append("the service, which is headless: kubectl does not map its ports. These are its pods")
    return entry


def _remote(port: Port) -> str:
    """Its name; a name of digits would be taken for a number."""
    return str(port.number) if not port.name or port.name.isdecimal() else port.name


def _tcp(service: Service) -> list[Port]:
    return [Port(port.number, port.name) for port in service.ports if port.protocol == "TCP"]


def _why_not(service: Service) -> str:
    """Why no port of it can be forwarded; empty if one can."""
    if why := leads_nowhere(service):
        return why
    return "" if _tcp(service) else f"{service.ports[0].protocol} only: kubectl forwards TCP only"


def _leads_to(offer: Offer, workload: Workload) -> bool:
    return bool(offer.selector) and from_map(offer.selector).matches(workload.labels)


def _head(place: Place) -> tuple[str, ...]:
    where = f"namespace {place.namespace}{f' of context {place.context}' if place.context else ''}"
    return (
        f"The services of {where}, found by kpf-supervise --init.",
        "ports: [LOCAL:REMOTE], where REMOTE is the service's port or its name. Change LOCAL as you like.",
        "lazy: kubectl starts with the first connection. kpf-supervise --schema prints all options.",
        f"To follow services that come and go, write services: [{{namespace: {place.namespace}}}] instead of forwards.",
    )


def _nothing(place: Place, lost: Iterable[str]) -> str:
    """Why there is no forward."""
    left = "; ".join(lost)
    why = f"no service that can be forwarded: {left}" if left else "no service"
    other = "kubectl get services --all-namespaces lists all that you may see; name another namespace: -n NAMESPACE"
    return f"namespace {place.namespace} has {why}. {other}"
