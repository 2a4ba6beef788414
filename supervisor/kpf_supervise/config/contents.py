"""What a configuration file says, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file, defaults applied."""

    forwards: tuple[Forward, ...]
    each: tuple[Forward, ...] = ()  # those with a forward for each pod of the target
    services: tuple[ServiceGroup, ...] = ()
    template: Forward = TEMPLATE  # with the file's defaults; for forwards that are started over the control socket
    kubectl: str | None = None  # a name on PATH or a path; None: not set
    socket: Path | None = None  # None: not set
    persist: bool = False
    credentials: str = "share"  # share or each: whether kubectls share what one run of a credential plugin gives
    # identity of the file it was read from: device, inode, modification time, size; None: a pipe, or no file
    mark: tuple[int, int, int, int] | None = field(default=None, compare=False)

    @property
    def summary(self) -> str:
        """What it declares, in words. One for each pod counts as one."""
        count = len(self.forwards) + len(self.each)
        words = [f"{count} forward{'s' if count != 1 else ''}"] if count or not self.services else []
        places = len({(group.template.cluster, group.template.namespace) for group in self.services})
        if places:
            words.append(f"the services of {places} namespace{'s' if places != 1 else ''}")
        return " and ".join(words)
