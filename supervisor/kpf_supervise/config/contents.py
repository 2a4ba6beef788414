"""What a configuration file says, as plain values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from kpf_supervise.model import TEMPLATE, Forward


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceGroup:
    """The services of one namespace that are forwarded, each port on its own."""

    template: Forward  # everything but id, target and ports; its namespace None: the context's
    selector: str = ""  # of labels; "" for all
    exclude: tuple[str, ...] = ()  # patterns of names, as of a shell
    offset: int | None = 0  # the local port is the service's plus this; None: a free one
    each_address: bool = False  # each service has an address of its own in 127.0.0.0/8


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
    each: tuple[Forward, ...] = ()  # those with a forward for each pod of the target
    services: tuple[ServiceGroup, ...] = ()
    template: Forward = TEMPLATE  # with the file's defaults; for forwards that are started over the control socket
    proxy: Proxy | None = None
    metrics: tuple[str, int] | None = None  # address and port on which they are served
    kubectl: str | None = None  # a name on PATH or a path; None: not set
    socket: Path | None = None  # None: not set
    persist: bool = False
    credentials: str = "share"  # share or each: whether kubectls share what one run of a credential plugin gives
    # identity of the file it was read from: device, inode, modification time, size; None: a pipe, or no file
    mark: tuple[int, int, int, int] | None = field(default=None, compare=False)

    @property
    def groups(self) -> list[str]:
        """All that are named, by name."""
        services = (each.template for each in self.services)
        return sorted({group for each in (*self.forwards, *self.each, *services) for group in each.groups})

    def only(self, groups: Collection[str]) -> Config:
        """The same, but only the forwards of these groups are started with the others: those that are not are listed.
        What the cluster has to be asked for before it can be listed is left out. All of it without a group."""
        if not groups:
            return self

        def chosen(forward: Forward) -> bool:
            return not {*groups}.isdisjoint(forward.groups)

        return replace(
            self,
            forwards=tuple(each if chosen(each) else replace(each, enabled=False) for each in self.forwards),
            each=tuple(filter(chosen, self.each)),
            services=tuple(each for each in self.services if chosen(each.template)),
        )

    @property
    def summary(self) -> str:
        """What it declares, in words. One for each pod counts as one."""
        count = len(self.forwards) + len(self.each)
        words = [f"{count} forward{'s' if count != 1 else ''}"] if count or not (self.services or self.proxy) else []
        places = len({(group.template.cluster, group.template.namespace) for group in self.services})
        if places:
            words.append(f"the services of {places} namespace{'s' if places != 1 else ''}")
        if self.proxy is not None:
            words.append("the proxy")
        return " and ".join(words)

    @property
    def lists_anything(self) -> bool:
        """Whether there is something beside the proxy."""
        return bool(self.forwards or self.each or self.services)
