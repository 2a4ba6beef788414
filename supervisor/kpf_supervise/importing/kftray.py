"""The JSON that kftray and kftui export: a list of configurations. Pure."""

from __future__ import annotations

from typing import Any

from kpf_supervise.importing.documents import Group, as_text, groups
from kpf_supervise.importing.found import Entry, Found, ports, unkept

_KEPT: tuple[str, ...] = (
    "id",
    "service",
    "target",
    "namespace",
    "local_port",
    "remote_port",
    "context",
    "workload_type",
    "protocol",
)
_KEPT += ("local_address", "alias", "kubeconfig")
_DEFAULT = "default"  # as a kubeconfig, it means kubectl's own
# A number is a port of the pod in kftray, also for a service. See resolve_target_port_for_pod in its sources.
_OF_POD = (
    "kftray takes the remote port of a service for a port of its pods; here it is a port of the service. "
    "Where they differ, write that of the service"
)


def read(value: Any) -> Found:
    found = Found(tool="kftray")
    for where, group in groups(value, "configurations"):
        found.forwards.append(_entry(where, group))
    if any(entry.options.get("target", "").startswith("service/") for entry in found.forwards):
        found.lost.append(("", _OF_POD))
    return found


def _entry(where: str, group: Group) -> Entry:
    kind, service = as_text(group.get("workload_type")) or "service", as_text(group.get("service"))
    selector, protocol = as_text(group.get("target")), as_text(group.get("protocol")) or "tcp"
    entry = Entry(where=where, name=as_text(group.get("alias")) or service or selector.rpartition("=")[2])
    entry.options = {"selector": selector} if kind == "pod" else {"target": f"service/{service}"}
    entry.options["ports"] = [ports(as_text(group.get("local_port")), as_text(group.get("remote_port")))]
    for name, key in (("namespace", "namespace"), ("context", "context"), ("kubeconfig", "kubeconfig")):
        if (text := as_text(group.get(key))) and (key, text) != ("kubeconfig", _DEFAULT):
            entry.options[name] = text
    address = as_text(group.get("local_address"))
    if address and address != "localhost":
        entry.options["address"] = address
    entry.lost = unkept(group, (*_KEPT, "remote_address") if kind == "proxy" else _KEPT)
    if protocol.lower() != "tcp":
        entry.refused = f"its protocol is {protocol}, and kubectl can forward TCP only"
    elif kind == "proxy":
        entry.refused = (
            f"for it, kftray puts a pod into the cluster that relays to {as_text(group.get('remote_address'))}"
        )
    elif kind not in ("service", "pod"):
        entry.refused = f"its workload_type is {kind}, which is no port-forward to the cluster"
    return entry
