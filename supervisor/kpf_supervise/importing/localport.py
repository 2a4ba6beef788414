"""localport.yaml. Pure."""

from __future__ import annotations

from typing import Any

from kpf_supervise.importing.documents import Group, as_group, as_text, groups
from kpf_supervise.importing.found import Entry, Found, ports, unkept

_KEPT = ("name", "technology", "local_port", "remote_port", "connection", "enabled")
_CONNECTION = ("resource_type", "resource_name", "namespace", "context")


def read(value: Any) -> Found:
    top = as_group(value)
    found = Found(tool="localport", lost=[("", text) for text in unkept(top, ("version", "services"))])
    for where, group in groups(top.get("services"), "services"):
        found.forwards.append(_entry(where, group))
    return found


def _entry(where: str, group: Group) -> Entry:
    """Without a type it is a service, and without a namespace it is in `default`."""
    connection = as_group(group.get("connection"))
    technology = as_text(group.get("technology"))
    name = as_text(connection.get("resource_name"))
    entry = Entry(where=where, name=as_text(group.get("name")) or name)
    if technology != "kubectl":
        entry.refused = f"its technology is {technology or 'not named'}, and here it is always kubectl"
        return entry
    entry.lost = unkept(group, _KEPT) + unkept(connection, _CONNECTION)
    entry.options = {
        "target": f"{as_text(connection.get('resource_type')) or 'service'}/{name}",
        "ports": [ports(as_text(group.get("local_port")), as_text(group.get("remote_port")))],
        "namespace": as_text(connection.get("namespace")) or "default",
    }
    if context := as_text(connection.get("context")):
        entry.options["context"] = context
    if as_text(group.get("enabled")) == "false":
        entry.options["enabled"] = "false"
    return entry
