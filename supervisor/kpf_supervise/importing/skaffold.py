"""The portForward section of a skaffold.yaml. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kpf_supervise.importing.documents import Group, as_group, as_text, groups
from kpf_supervise.importing.found import Entry, Found, ports, unkept

_KEPT = ("resourceType", "resourceName", "namespace", "port", "localPort", "address")
_PRIVILEGED = 1024  # below it, a port needs root on most systems


def read(documents: Sequence[Any]) -> Found:
    """What is built and deployed is none of our business."""
    found = Found(tool="skaffold")
    for number, document in enumerate(documents):
        top = as_group(document)
        path = f"document {number + 1}: " if len(documents) > 1 else ""
        context = as_text(as_group(top.get("deploy")).get("kubeContext"))
        for where, group in groups(top.get("portForward"), f"{path}portForward"):
            entry = _entry(where, group)
            if context:
                entry.options["context"] = context
            found.forwards.append(entry)
        if top.get("requires"):
            found.lost.append((f"{path}requires", "other files are not read. Import each"))
        for where, profile in groups(top.get("profiles"), f"{path}profiles"):
            if profile.get("portForward") or "portForward" in str(profile.get("patches", "")):
                found.lost.append((where, f"the port-forwards of the profile {as_text(profile.get('name'))}"))
    return found


def _entry(where: str, group: Group) -> Entry:
    """Without a local port it is the same one, or any free one where that is not free."""
    name, remote = as_text(group.get("resourceName")), as_text(group.get("port"))
    local = as_text(group.get("localPort"))
    entry = Entry(where=where, name=name, lost=unkept(group, _KEPT))
    if not local and remote.isdecimal() and len(remote) < 6 and int(remote) < _PRIVILEGED:
        entry.lost.append(f"the local port: {remote} mostly needs root, and skaffold takes another one then")
    else:
        local = local or (remote if remote.isdecimal() else "")
    entry.options = {"target": f"{as_text(group.get('resourceType')).lower()}/{name}", "ports": [ports(local, remote)]}
    if namespace := as_text(group.get("namespace")):
        entry.options["namespace"] = namespace
    address = as_text(group.get("address"))
    if address and address != "localhost":
        entry.options["address"] = address
    return entry
