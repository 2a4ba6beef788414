"""Which kubectl is run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

_PATIENCE = 5.0  # seconds


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


def runnable_kubectl(option: str | None, config: Path | None, said: str | None) -> str:
    """The kubectl to run. Exits if it can't be run."""
    source, binary = chosen_kubectl(option, config, said)
    if why := not_runnable(binary):
        fix = "Install kubectl (1.20 or later), or name its path: --kubectl PATH, kubectl: in the file, or $KUBECTL"
        click.echo(f"kpf-supervise: {source}: cannot run {binary}: {why}. {fix}", err=True)
        sys.exit(1)
    return binary


def described_kubectl(binary: str) -> str:
    """What kubectl says that it is, for people. A dispatcher is not asked: it would ask the cluster, and sign in."""
    from kpf_supervise.kubectl.answers import Malformed, VersionInfo, decode
    from kpf_supervise.kubectl.dispatcher import dispatched_by
    from kpf_supervise.text import one_line

    if why := not_runnable(binary):
        return f"cannot be run: {binary}: {why}"
    where = one_line(shutil.which(binary) or binary)
    if others := dispatched_by(binary):
        (first, *_, last) = (".".join(map(str, each.version)) for each in (others[0], *others))
        return f"{first} to {last}, as fits the server ({where})"
    try:
        command = [binary, "version", "--client", "-o", "json"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False)
        return f"{one_line(decode(done.stdout, VersionInfo).client_version.git_version).lstrip('v')} ({where})"
    except subprocess.TimeoutExpired:
        return f"no answer within {_PATIENCE:g} s ({where})"
    except (OSError, Malformed) as error:
        return f"unknown: {where} does not answer as kubectl does ({type(error).__name__})"
