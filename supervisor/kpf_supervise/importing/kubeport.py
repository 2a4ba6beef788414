"""kubeport.yaml and kubeport.toml. Pure."""

from __future__ import annotations

from typing import Any

from kpf_supervise.importing.documents import Group, as_group, as_list, as_text, groups
from kpf_supervise.importing.found import Entry, Found, ports, unkept

_KEPT = ("name", "service", "pod", "local_port", "remote_port", "namespace", "ports", "lazy", "local_port_offset")
_TOP = ("context", "namespace", "services")


def read(value: Any) -> Found:
    top = as_group(value)
    found = Found(tool="kubeport")
    found.top = {name: text for name in ("context", "namespace") if (text := as_text(top.get(name)))}
    found.lost = [("", text) for text in unkept(top, _TOP)]
    for where, group in groups(top.get("services"), "services"):
        found.forwards.append(_entry(where, group))
    return found


def _entry(where: str, group: Group) -> Entry:
    service, pod = as_text(group.get("service")), as_text(group.get("pod"))
    entry = Entry(where=where, name=as_text(group.get("name")) or service or pod, lost=unkept(group, _KEPT))
    entry.options["target"] = f"service/{service}" if service else f"pod/{pod}"
    if namespace := as_text(group.get("namespace")):
        entry.options["namespace"] = namespace
    if as_text(group.get("lazy")) == "true":
        entry.options["lazy"] = "true"
    if "ports" not in group:
        entry.options["ports"] = [ports(as_text(group.get("local_port")), as_text(group.get("remote_port")))]
    elif group["ports"] == "all":
        entry.refused = "it forwards all ports. Name each"
    else:
        entry.options["ports"] = [_port(entry, each, group) for each in as_list(group["ports"])]
    return entry


def _port(entry: Entry, value: Any, group: Group) -> str:
    """A port's name, or a group with a name or a number, and perhaps a local port. Without a local port, kubeport takes
    the number of the service's, which is not known here if there is only a name."""
    given = as_group(value)
    name = as_text(value) or as_text(given.get("name"))
    number, local = as_text(given.get("port")), as_text(given.get("local_port"))
    offset = as_text(group.get("local_port_offset"))
    if number and not local:
        known = number.isdecimal() and (offset or "0").isdecimal()
        local = str(int(number) + int(offset or "0")) if known else number
    elif not local:
        entry.lost.append(f"the local port of {name}, which is the service's{f' + {offset}' if offset else ''}")
    return ports(local, name or number)
