"""What people write out of habit, from other tools and from Kubernetes itself, and how it is written here. Pure.

Each function raises Mistake if it knows what was meant, and otherwise returns: the caller then judges by the rules.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from kpf_supervise.config.errors import Mistake
from kpf_supervise.config.target_kinds import KINDS
from kpf_supervise.text import quote, shorten

WILDCARD = re.compile(r"[*?\[]")
RANGE = re.compile(r"[0-9]+-[0-9]+")  # as part of a port
PROTOCOL = re.compile(r"(?P<port>[^/]*)/(?P<protocol>tcp|udp|sctp)", re.IGNORECASE)
CLUSTER_NAME = re.compile(r"(?P<name>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+)\.svc(\.[a-z0-9.-]+)?\.?")
SERVICE_NAME = re.compile(r"(?P<name>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+)")
LOCAL = ("local", "localPort", "local_port", "host", "hostPort")
REMOTE = ("remote", "remotePort", "remote_port", "port", "targetPort", "containerPort")


class Meant(Mistake):
    """A target with a namespace or a port in it. `words` are what belongs on a command line instead."""

    def __init__(self, message: str, target: str, namespace: str = "", port: str = "") -> None:
        fix = f"The port goes into ports: target: {target}, ports: {port}."
        if namespace:
            fix = f"Write target: {target} and beside it namespace: {namespace}."
        super().__init__(message, fix)
        self.words = " ".join(filter(None, (target, port, f"-n {namespace}" if namespace else "")))


def check_target(text: str) -> None:
    """For a target that is not written `[KIND/]NAME`."""
    *before, name = text.split("/")
    kind = KINDS.get(before[-1].lower(), "") if before else ""
    if WILDCARD.search(text):
        raise Mistake(
            f"{quote(text)} has a wildcard, and a target is one object",
            "For all services of a namespace write services: [{namespace: NAME}]; pods are chosen by their labels with "
            "selector:.",
        )
    plain, colon, port = name.partition(":")
    if colon and plain and (kind or not before):
        meant = f"{kind}/{shorten(plain)}" if kind else shorten(plain)
        raise Meant(f"{quote(text)} has a port in it", meant, port=shorten(port))
    if len(before) == 2 and kind and before[0].lower() not in KINDS:
        raise Meant(f"{quote(text)} has a namespace in it", f"{kind}/{shorten(name)}", shorten(before[0]))
    found = CLUSTER_NAME.fullmatch(name) or (SERVICE_NAME.fullmatch(name) if kind == "service" else None)
    if found and len(before) < 2 and kind in ("", "service"):
        message = f"{quote(text)} is a name of the cluster's DNS"
        raise Meant(message, f"service/{shorten(found['name'])}", shorten(found["namespace"]))


def check_port(text: str) -> None:
    if found := PROTOCOL.fullmatch(text):
        if found["protocol"].lower() == "tcp":
            raise Mistake(f"{quote(text)} names its protocol, which is always TCP", f"Write {quote(found['port'])}.")
        raise Mistake(
            f"{quote(text)} is {found['protocol'].upper()}, and kubectl can't forward {found['protocol'].upper()}",
            "It forwards TCP only: remove this port, or name one of TCP.",
        )
    if any(RANGE.fullmatch(part) for part in text.split(":")):
        firsts = [int(part.partition("-")[0][:5] or 0) for part in text.split(":")]
        shown = ", ".join(f'"{firsts[0] + more}:{firsts[-1] + more}"' for more in range(2))
        raise Mistake(f"{quote(text)} is a range of ports, and ranges are not supported", f"Write each: [{shown}, …].")


def check_port_group(group: Mapping[str, str]) -> None:
    """For a port that is written as a group of keys; `group` has those of its entries that are single values."""
    local = next((group[key] for key in LOCAL if key in group), "")
    remote = next((group[key] for key in REMOTE if key in group), "")
    if not remote and len(group) == 1:
        ((local, remote),) = group.items()
        if not local.isdecimal():
            return
    if remote:
        raise Mistake("a port as a group of keys", f'Write "{shorten(local)}:{shorten(remote)}".')
