"""What a configuration file says, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kpf_supervise.model import TEMPLATE, Forward


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file, defaults applied."""

    forwards: tuple[Forward, ...]
    template: Forward = TEMPLATE  # with the file's defaults; for forwards that are started over the control socket
    kubectl: str | None = None  # a name on PATH or a path; None: not set
    socket: Path | None = None  # None: not set
    persist: bool = False
    credentials: str = "share"  # share or each: whether kubectls share what one run of a credential plugin gives
    # identity of the file it was read from: device, inode, modification time, size; None: a pipe, or no file
    mark: tuple[int, int, int, int] | None = field(default=None, compare=False)
