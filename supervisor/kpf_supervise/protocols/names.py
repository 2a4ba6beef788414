"""What a client asks for: the names under which a cluster's DNS knows services and pods. Pure.

The rules for names are those of Kubernetes' DNS (https://github.com/kubernetes/dns, docs/specification.md): a service
is SERVICE.NAMESPACE.svc.cluster.local, and a pod of a headless service POD.SERVICE.NAMESPACE.svc.cluster.local. As in
a pod, what follows may be left out from the right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

from kpf_supervise.protocols.refusal import Refused, Why
from kpf_supervise.text import quote

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LONGEST = 253
_LOCAL = ".localhost"
_SUFFIXES = (".svc.cluster.local", ".svc")
_FORMS = "SERVICE.NAMESPACE, or POD.SERVICE.NAMESPACE of a headless service"


@dataclass(frozen=True, slots=True)
class Name:
    """A port of a service, or of one pod of a headless service. Without a port: the one for browsers."""

    service: str
    namespace: str | None = None  # None: the proxy's own
    pod: str | None = None
    port: int | str | None = None


def read_name(host: str, port: int | None) -> Name:
    """The name that a client has asked for. Raises Refused.

    In names that end in `.localhost`, a first label before SERVICE.NAMESPACE is a port's name or number instead of a
    pod. Without a port, it is the one for browsers.
    """
    text = host.lower().removesuffix(".")
    if is_address(text):
        raise Refused(
            Why.ADDRESS,
            f"{quote(host)} is an IP address, and only names of the cluster can be reached: let the proxy resolve "
            "names (socks5h:// instead of socks5://, --socks5-hostname instead of --socks5).",
        )
    plain = text.removesuffix(_LOCAL)
    is_local = plain != text
    for suffix in _SUFFIXES:
        if plain.endswith(suffix) and plain.count(".") > suffix.count("."):
            plain = plain.removesuffix(suffix)
            break
    labels = plain.split(".")
    if len(text) > _LONGEST or not all(map(_LABEL.fullmatch, labels)):
        raise Refused(Why.NO_SUCH_NAME, f"{quote(host)} is not a name of the cluster: write {_FORMS}.")
    chosen: int | str | None = port
    if is_local and len(labels) > 2:
        first, *labels = labels
        chosen = int(first) if first.isdecimal() and len(first) < 6 else first
    if len(labels) > 3 or plain == "localhost":
        raise Refused(Why.NO_SUCH_NAME, f"{quote(host)} is not a name of the cluster: write {_FORMS}.")
    match labels:
        case [service]:
            return Name(service, port=chosen)
        case [service, namespace]:
            return Name(service, namespace, port=chosen)
        case [pod, service, namespace]:
            return Name(service, namespace, pod, chosen)
    raise AssertionError("a text has at least one label")


def is_for_browsers(host: str) -> bool:
    """Whether a browser on this machine sends it to the proxy without being configured."""
    return host.lower().removesuffix(".").endswith(_LOCAL)


def is_of_cluster(host: str) -> bool:
    """Whether it can't be anything else."""
    return host.lower().removesuffix(".").endswith((*_SUFFIXES, _LOCAL))


def is_address(host: str) -> bool:
    """Whether it is an IP address, with or without the brackets of a URL."""
    try:
        ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def split_authority(authority: str, default: int | None = None) -> tuple[str, int | None]:
    """`HOST[:PORT]` of a URL or a Host header, as (host, port or the default). Raises Refused."""
    if "@" in authority:
        raise Refused(Why.MALFORMED, "a user or password before the host belongs into the header Authorization.")
    host, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        host, port = authority, ""
    if not host or (":" in host and not host.startswith("[")) or any(char in host for char in "/ ,"):
        raise Refused(Why.MALFORMED, f"{quote(authority)} is not HOST:PORT.")
    if not port:
        return host, default
    if not (port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536):
        raise Refused(Why.MALFORMED, f"{quote(authority)} has no port from 1 to 65535.")
    return host, int(port)
