"""The credential plugin that a user entry of the kubeconfig names, and the entry that replaces it for our kubectls.
Pure."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from kpf_supervise.model import Cause, ForwardError, Problem
from kpf_supervise.sign_in.credential import GROUP

# Beside any of these, kubectl does not run the plugin.
_OTHERS = ("token", "tokenFile", "username", "password", "client-certificate", "client-certificate-data")
_ASKED = f"{GROUP}v1beta1"  # every kubectl since 1.20 knows it
_CLUSTER_EXTENSION = "client.authentication.k8s.io/exec"


class _Variable(Struct):
    name: str
    value: str = ""


class _Exec(Struct, rename="camel"):
    command: str
    api_version: str = ""
    args: list[str] | None = None
    env: list[_Variable] | None = None
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: str = ""


class PluginFailed(ForwardError):
    """It gave no credential. `wants_terminal`: it can't ask its user here."""

    def __init__(self, message: str, step: str = "", wants_terminal: bool = False) -> None:
        super().__init__(Problem(Cause.CREDENTIALS, message, step))
        self.wants_terminal = wants_terminal


@dataclass(frozen=True, slots=True)
class Plugin:
    """How a plugin is run. Its arguments and variables may be secret: they are never shown."""

    version: str  # the apiVersion
    command: str
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    hint: str  # how it is installed
    cluster_info: bool  # it is told which cluster it is for
    mode: str  # Never, IfAvailable or Always: whether it gets a terminal

    @property
    def name(self) -> str:
        return os.path.basename(self.command)

    @property
    def asks(self) -> bool:
        """Whether it may ask somebody, on the terminal or in a window."""
        return self.mode != "Never"

    @property
    def relative(self) -> bool:
        """Whether its path is relative to the folder of the kubeconfig file that names it."""
        return os.sep in self.command and not os.path.isabs(self.command)

    def line(self, folder: Path | None) -> list[str]:
        command = str((folder or Path()) / self.command) if self.relative else self.command
        return [command, *self.args]

    def environment(self, base: Mapping[str, str], info: str) -> dict[str, str]:
        return {**base, **dict(self.env), "KUBERNETES_EXEC_INFO": info}

    def info(self, cluster: Mapping[str, Any] | None, terminal: bool) -> str:
        """What it is told in KUBERNETES_EXEC_INFO. `cluster` is the kubeconfig's entry with its certificate."""
        spec: dict[str, Any] = {"interactive": terminal}
        if self.cluster_info and cluster is not None:
            spec["cluster"] = _told(cluster)
        return json.dumps({"kind": "ExecCredential", "apiVersion": self.version, "spec": spec})


def _told(cluster: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "server": "server",
        "tls-server-name": "tls-server-name",
        "insecure-skip-tls-verify": "insecure-skip-tls-verify",
        "certificate-authority-data": "certificate-authority-data",
        "proxy-url": "proxy-url",
        "disable-compression": "disable-compression",
    }
    told = {name: cluster[key] for key, name in names.items() if cluster.get(key)}
    for each in cluster.get("extensions") or ():
        if each.get("name") == _CLUSTER_EXTENSION:
            told["config"] = each.get("extension")
    return told


def plugin_of(user: Mapping[str, Any]) -> Plugin | None:
    """The plugin that a user entry names and that we can run. None: there is none, or kubectl is to deal with it."""
    if any(user.get(key) for key in _OTHERS) or not user.get("exec"):
        return None
    try:
        found = msgspec.convert(user["exec"], _Exec)
    except ValueError:
        return None
    mode = found.interactive_mode or "IfAvailable"
    if not found.command or not found.api_version.startswith(GROUP) or mode not in ("Never", "IfAvailable", "Always"):
        return None
    return Plugin(
        found.api_version,
        found.command,
        tuple(found.args or ()),
        tuple((each.name, each.value) for each in found.env or ()),
        found.install_hint,
        found.provide_cluster_info,
        mode,
    )


def in_front(name: str, user: Mapping[str, Any], command: Sequence[str]) -> str:
    """A kubeconfig that only replaces the plugin of one user by `command`. Put before the others in $KUBECONFIG, it
    wins: kubectl takes the whole entry from the first file that names the user. Impersonation is kept; there is nothing
    secret in it."""
    kept = {key: value for key, value in user.items() if key == "as" or key.startswith("as-")}
    plugin = {"apiVersion": _ASKED, "command": command[0], "args": list(command[1:]), "interactiveMode": "Never"}
    entry = {"name": name, "user": {**kept, "exec": plugin}}
    return json.dumps({"apiVersion": "v1", "kind": "Config", "users": [entry]}) + "\n"
