"""Which tool a file is of. Pure."""

from __future__ import annotations

import re

from kpf_supervise.config.errors import ConfigError, FileMistake
from kpf_supervise.importing import devspace, kftray, kubectl_lines, kubeport, localport, processes, skaffold
from kpf_supervise.importing.documents import Group, as_group, as_list, read_json, read_toml, read_yaml
from kpf_supervise.importing.found import Found


def read(text: str, file: str) -> Found:
    """What a file declares. `file` is its name for messages. Raises ConfigError if it can't be read, or is of a format
    that is known, but not the right one."""
    if text.lstrip()[:1] in ("[", "{") and not _has(text, r"\[\[?\w"):
        value = read_json(text, file)
        known = any("workload_type" in as_group(each) or "local_port" in as_group(each) for each in as_list(value))
        return kftray.read(value) if known else processes.read_strings(value)
    if _has(text, r"\[\[services\]\]"):
        return kubeport.read(read_toml(text, file))
    if _has(text, r"apiVersion:\s*[\"']?skaffold/"):
        return skaffold.read(read_yaml(text, file))
    if _has(text, r"(forwards|services|processes|dev|devSpace):(\s|$)"):
        try:
            documents = read_yaml(text, file)
        except ConfigError:
            if not re.search("port-forward|kubefwd", text):
                raise
        else:
            return _of_yaml(as_group(documents[0] if documents else None), text, file)
    return kubectl_lines.read(text)  # `dev:` may be a target of a Makefile, or a name in a Procfile


def _has(text: str, line: str) -> bool:
    """Whether a line begins so, without indentation."""
    return re.search(f"(?m)^{line}", text) is not None


def _of_yaml(top: Group, text: str, file: str) -> Found:
    services = [as_group(each) for each in as_list(top.get("services"))]
    of_groups = {name for name, value in top.items() if not isinstance(value, str)}
    if "forwards" in of_groups:
        fix = f"Run it: kpf-supervise {file}"
        raise ConfigError([FileMistake(file, 0, 0, "", "it is a file of kpf-supervise already", fix)])
    if {"dev", "devSpace"} & of_groups:
        return devspace.read(top)
    if "processes" in of_groups:
        return processes.read(top)
    if any("connection" in each or "technology" in each for each in services):
        return localport.read(top)
    if any("service" in each or "pod" in each for each in services):
        return kubeport.read(top)
    return kubectl_lines.read(text)
