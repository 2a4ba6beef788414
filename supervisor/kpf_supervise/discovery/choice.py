"""Which pod to use, and which of its ports: the selection rules as plain functions. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Raw

from kpf_supervise.config.selectors import Selector, from_label_selector, from_map, parse_selector
from kpf_supervise.kubectl.answers import Malformed, decode
from kpf_supervise.model import Cause, ForwardError, Problem, Target
from kpf_supervise.text import shorten
from kpf_supervise.watching.api_objects import Service, ServicePort, Workload
from kpf_supervise.watching.objects import ObjectSet
from kpf_supervise.watching.pods import PASSING, Pod


@dataclass(frozen=True, slots=True)
class Destination:
    """How a target's pods and their ports are found.

    `selector` is None for a pod given by name. `service` is the Service if the ports are a Service's.
    """

    target: Target
    selector: Selector | None = None
    service: Service | None = None
    alone: bool = False  # no other pod takes the place of a pod given by name


def path_of(target: Target, namespace: str) -> str | None:
    """The API path of the object that tells which pods the target has; None if there is none to read."""
    if target.kind in ("pod", "selector"):
        return None
    api = "api/v1" if target.kind == "service" else "apis/apps/v1"
    return f"/{api}/namespaces/{namespace}/{target.kind}s/{target.name}"


def destination(target: Target, data: bytes | Raw | None) -> Destination:
    """The Destination of a target. `data` is the object at `path_of`, or None. Raises ForwardError (NO_SELECTOR) or
    Malformed."""
    if target.kind == "pod":
        return Destination(target)
    if target.kind == "selector":
        return Destination(target, parse_selector(target.name))
    assert data is not None
    if target.kind != "service":
        try:
            selector = msgspec.to_builtins(decode(data, Workload).spec.selector)
            return Destination(target, from_label_selector(selector))
        except ValueError as error:
            raise Malformed(str(error)) from None
    service = decode(data, Service)
    spec = service.spec
    if spec.type == "ExternalName" or not spec.selector:
        external = spec.type == "ExternalName"
        kind = "is of type ExternalName" if external else "has no selector"
        instead = f"Connect to {shorten(spec.external_name)} itself" if external and spec.external_name else ""
        raise ForwardError(
            Problem(
                Cause.NO_SELECTOR,
                f"{target} {kind}, so it leads to no pods",
                instead or "Name the pod, the workload or a label selector instead",
            )
        )
    return Destination(target, from_map(spec.selector), service)


STATEFUL = "StatefulSet"


@dataclass(frozen=True, slots=True)
class Choice:
    """The pod to use now, or None and the reason. The caller passes `family`, the controller of a pod given by name, to
    the next call."""

    pod: Pod | None
    family: tuple[str, str] | None = None
    reason: str = ""
    stuck: bool = False  # the reason does not go away by itself
    missing: bool = False  # the pod given by name does not exist, and no controller is known


def choose(
    where: Destination, pods: ObjectSet[Pod], current: Pod | None = None, family: tuple[str, str] | None = None
) -> Choice:
    """Choose a ready pod that is not terminating. `current` is kept while it qualifies. Otherwise the newest pod is
    chosen, or the lowest ordinal of a StatefulSet: usually the primary.

    A pod given by name is the only candidate while it exists, and always if it is `alone`. Once it is gone or
    terminating, the pods of its family (known from the time when it existed) are candidates; for a StatefulSet, only
    the pod that takes its name. This runs at every change of one of the target's pods, so an unchanged choice is found
    without looking at the others.
    """
    now = pods.named(current.name) if current is not None else None
    stays = now if now is not None and current is not None and now.incarnation == current.incarnation else None
    if where.selector is not None:
        if stays is not None and stays.usable and where.selector.matches(stays.labels):
            return Choice(stays, family)
        candidates = [pod for pod in pods if where.selector.matches(pod.labels)]
    else:
        named = pods.named(where.target.name)
        if where.alone and named is None:
            return Choice(None, None, f"there is no pod {where.target.name} now")
        if where.alone and named is not None:
            reason, stuck = ("", False) if named.usable else _why_none([named])
            return Choice(named if named.usable else None, None, reason, stuck)
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
            if family is not None and family[0] == STATEFUL:
                candidates = [pod for pod in candidates if pod.name == where.target.name]
    usable = [pod for pod in candidates if pod.usable]
    if not usable:
        reason, stuck = _why_none(candidates)
        return Choice(None, family, reason, stuck)
    return Choice(_preferred_first(usable)[0], family)


def ready(
    where: Destination, pods: ObjectSet[Pod], current: Pod | None, family: tuple[str, str] | None
) -> Sequence[Pod]:
    """All ready pods of a target that are not terminating, in the order in which `choose` prefers them. A pod given by
    name stands for one pod: the one that `choose` chooses."""
    selector = where.selector
    if selector is None:
        pod = choose(where, pods, current, family).pod
        return [pod] if pod is not None else []
    return pods.derived(
        selector, lambda: _preferred_first([pod for pod in pods if pod.usable and selector.matches(pod.labels)])
    )


def _preferred_first(usable: list[Pod]) -> list[Pod]:
    pods = sorted(usable, key=lambda pod: (pod.created, pod.name), reverse=True)
    family = pods[0].family if pods else None
    if family is not None and family[0] == STATEFUL:
        pods.sort(key=lambda pod: (pod.family != family, _ordinal(pod)))
    return pods


def _ordinal(pod: Pod) -> int:
    number = pod.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _why_none(candidates: list[Pod]) -> tuple[str, bool]:
    if not candidates:
        return "it has no pods", False
    newest = max(candidates, key=lambda pod: (not pod.terminating, pod.created))
    trouble = "terminating" if newest.terminating else newest.trouble
    others = f", and {len(candidates) - 1} more" if len(candidates) > 1 else ""
    return f"pod {newest.name} is {trouble}{others}", trouble not in PASSING


def concerns(where: Destination, family: tuple[str, str] | None, pod: Pod) -> bool:
    """Whether a change of `pod` can change the choice."""
    if where.selector is not None:
        return where.selector.matches(pod.labels)
    return pod.name == where.target.name or (family is not None and pod.family == family)


def remote_port(where: Destination, pod: Pod, remote: int | str) -> int:
    """The container port behind `remote` in this pod. A Service's port maps to its targetPort. For a
    headless Service the port number is used unchanged, as in kubectl. Raises ForwardError (NO_SUCH_PORT)."""
    if where.service is None:
        return remote if isinstance(remote, int) else _named(pod, remote)
    port = service_port(where.target, where.service, remote)
    if where.service.spec.cluster_ip == "None":
        return port.port
    behind = port.target_port or port.port
    return behind if isinstance(behind, int) else _named(pod, behind)


def service_port(target: Target, service: Service, remote: int | str) -> ServicePort:
    """The TCP port of the service `target`. Raises ForwardError (NO_SUCH_PORT)."""
    spec = service.spec
    # a tunnel is TCP; a port of another protocol may have the same number, as with DNS
    ports = [port for port in spec.ports or () if (port.protocol or "TCP") == "TCP"]
    for port in ports:
        if remote in (port.port, port.name):
            return port
    others = [port for port in spec.ports or () if port not in ports and remote in (port.port, port.name)]
    raise ForwardError(
        Problem(
            Cause.NO_SUCH_PORT,
            f"port {remote} of {target} is {others[0].protocol}, and only TCP can be forwarded"
            if others
            else f"{target} has no port {remote}",
            f"It has: {', '.join(map(_shown, ports))}" if ports else "It has no TCP ports at all",
        )
    )


def unmapped(service: Service, port: ServicePort) -> int | str | None:
    """The targetPort that a port of a headless service does not lead to: kubectl uses the number unchanged. None if
    there is no difference."""
    behind = port.target_port or port.port
    return behind if service.spec.cluster_ip == "None" and behind != port.port else None


def untranslated(where: Destination | None, pod: Pod | None, remote: int | str) -> str:
    """What to do if a pod refuses the port of a headless Service because it listens on the targetPort; "" if it has no
    other one."""
    if where is None or where.service is None or pod is None:
        return ""
    for port in where.service.spec.ports or ():
        behind = unmapped(where.service, port)
        number = pod.ports.get(behind) if isinstance(behind, str) else behind
        if remote in (port.port, port.name) and number not in (None, port.port):
            return (
                f"{where.target} is headless, so its port {port.port} is not translated, as in the cluster: use port "
                f"{number} of its pods"
            )
    return ""


def _shown(port: ServicePort) -> str:
    return f"{port.port} ({port.name})" if port.name else str(port.port)


def _named(pod: Pod, name: str) -> int:
    if name in pod.ports:
        return pod.ports[name]
    known = ", ".join(f"{name} ({number})" for name, number in pod.ports.items())
    raise ForwardError(
        Problem(
            Cause.NO_SUCH_PORT,
            f"pod {pod.name} has no port named {name}",
            f"It has: {known}" if known else "It names no ports; give the number instead",
        )
    )
