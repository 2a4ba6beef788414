"""The ports of a devspace.yaml: dev.*.ports of version v2beta1, and the older lists dev.ports and devSpace.ports.
Pure."""

from __future__ import annotations

from typing import Any

from kpf_supervise.importing.documents import Group, as_group, as_text, groups
from kpf_supervise.importing.found import Entry, Found, ports, unkept

_POD = ("labelSelector", "namespace", "imageSelector", "imageName", "image", "selector", "name", "containerName")
_PORT = ("port", "remotePort", "localPort", "bindAddress")


def read(value: Any) -> Found:
    top = as_group(value)
    found = Found(tool="devspace")
    for section in ("dev", "devSpace"):
        dev = as_group(top.get(section))
        if isinstance(dev.get("ports"), list):
            _old(found, dev, section)
            continue
        for name, each in dev.items():
            pod = as_group(each)
            for where, group in groups(pod.get("ports"), f"{section}.{name}.ports"):
                found.forwards.append(_entry(where, name, pod, group))
            if pod.get("reversePorts"):
                found.lost.append((f"{section}.{name}.reversePorts", "from the cluster to here is not possible"))
    for where, profile in groups(top.get("profiles"), "profiles"):
        if "ports" in str(profile):
            found.lost.append((where, f"the ports of the profile {as_text(profile.get('name'))}"))
    return found


def _old(found: Found, dev: Group, section: str) -> None:
    """Until v1beta11. `selector` names one of `selectors`."""
    selectors = {as_text(each.get("name")): each for _, each in groups(dev.get("selectors"), "")}
    for where, given in groups(dev["ports"], f"{section}.ports"):
        pod = selectors.get(as_text(given.get("selector")), {}) | given
        mappings = "forward" if "forward" in pod else "portMappings"
        for place, group in groups(pod.get(mappings), f"{where}.{mappings}"):
            found.forwards.append(_entry(place, as_text(pod.get("name")), pod, group))
        if pod.get("reverseForward"):
            found.lost.append((f"{where}.reverseForward", "from the cluster to here is not possible"))


def _entry(where: str, name: str, pod: Group, group: Group) -> Entry:
    labels = {key: as_text(value) for key, value in as_group(pod.get("labelSelector")).items()}
    entry = Entry(where=where, name=name or next(iter(labels.values()), ""), lost=unkept(group, _PORT))
    local, remote = _ports(group)
    entry.options = {
        "selector": ",".join(f"{key}={value}" for key, value in labels.items()),
        "ports": [ports(local, remote)],
    }
    if namespace := as_text(pod.get("namespace")):
        entry.options["namespace"] = namespace
    address = as_text(group.get("bindAddress"))
    if address and address != "localhost":
        entry.options["address"] = address
    image = next((text for key in ("imageSelector", "imageName", "image") if (text := as_text(pod.get(key)))), "")
    if not labels:
        del entry.options["selector"]
        entry.refused = "pods are chosen by labels here: write selector: with those of its pods" + (
            f" (of the image {image})" if image else ""
        )
    elif image:
        entry.lost.append(f"the image {image}: pods are chosen by their labels alone")
    return entry


def _ports(group: Group) -> tuple[str, str]:
    """`port` is LOCAL:REMOTE or one number for both; the older form has them apart."""
    local, _, remote = (as_text(group.get("port")) or as_text(group.get("localPort"))).partition(":")
    return local, as_text(group.get("remotePort")) or remote or local
