"""What a configuration file says, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from kpf_supervise.model import TEMPLATE, Forward


def proxied(template: Forward) -> Forward:
    """For the names that are used through the proxy, with the defaults of the file."""
    timeout = 300.0 if template.idle_timeout is None else template.idle_timeout
    return replace(template, lazy=True, idle_timeout=timeout, address="localhost", enabled=True, proxied=True)


PROXIED = proxied(TEMPLATE)  # with nothing but default values


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """The one local port on which every name of a cluster can be reached."""

    port: int
    address: str = "localhost"
    namespaces: tuple[str, ...] = ()  # none: all
    direct: bool = False  # reach names that are not the cluster's, too
    template: Forward = PROXIED  # for each name that is used


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file, defaults applied."""

    forwards: tuple[Forward, ...]
    template: Forward = TEMPLATE  # with the file's defaults; for forwards that are started over the control socket
    proxy: Proxy | None = None
    kubectl: str | None = None  # a name on PATH or a path; None: not set
    socket: Path | None = None  # None: not set
    persist: bool = False
    credentials: str = "share"  # share or each: whether kubectls share what one run of a credential plugin gives
    # identity of the file it was read from: device, inode, modification time, size; None: a pipe, or no file
    mark: tuple[int, int, int, int] | None = field(default=None, compare=False)
