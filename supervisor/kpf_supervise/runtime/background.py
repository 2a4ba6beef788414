"""The instances in the background that `kpfctl ensure` begins: one for each kubeconfig. Imports little."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from kpf_supervise.runtime.paths import runtime_folder

_PREFIX = "ensure."


def background_socket(kubeconfigs: Sequence[str]) -> Path:
    """The control socket of the instance for this list of absolute paths. Programs with different kubeconfigs don't
    share one: its kubectls and credential plugins have the environment of whoever began it."""
    digest = hashlib.sha256(os.fsencode(os.pathsep.join(kubeconfigs))).hexdigest()[:8]
    return runtime_folder() / f"{_PREFIX}{digest}.sock"


def in_background(socket: Path) -> bool:
    """Whether it is the control socket of such an instance."""
    return socket.name.startswith(_PREFIX) and "-" not in socket.name  # that of a file has one before its digest
