"""Which kubectl is run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def chosen_kubectl(option: str | None, config: Path | None, said: str | None) -> tuple[str, str]:
    """The setting that decides which kubectl is run, and the kubectl."""
    found = (("--kubectl", option), (f"{config}: kubectl", said), ("$KUBECTL", os.environ.get("KUBECTL")))
    return next(((source, name) for source, name in found if name), ("$PATH", "kubectl"))


def not_runnable(binary: str) -> str:
    """Why `binary` cannot be run, as far as that is known without running it; empty if nothing is known against it."""
    if shutil.which(binary):
        return ""
    if "/" not in binary:
        return "it is in no folder of $PATH"
    if not os.path.exists(binary):
        return "there is no such file"
    return "it is a folder" if os.path.isdir(binary) else "it is not executable"
