"""Which tool a file is of. Pure."""

from __future__ import annotations

import re
from typing import Any

from kpf_supervise.config.errors import ConfigError, FileMistake
from kpf_supervise.importing import devspace, kftray, kubectl_lines, kubeport, localport, processes, skaffold
from kpf_supervise.importing.documents import as_group, as_list, read_json, read_toml, read_yaml
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
        documents = read_yaml(text, file)
        return _of_yaml(documents[0] if documents else None, text, file)
    return kubectl_lines.read(text)


def _has(text: str, line: str) -> bool:
    """Whether a line begins so, without indentation."""
    return re.search(f"(?m)^{line}", text) is not None


def _of_yaml(value: Any, text: str, file: str) -> Found:
    top = as_group(value)
    services = [as_group(each) for each in as_list(top.get("services"))]
    if "forwards" in top:
        fix = f"Run it: kpf-supervise {file}"
        raise ConfigError([FileMistake(file, 0, 0, "", "it is a file of kpf-supervise already", fix)])
    if "dev" in top or "devSpace" in top:
        return devspace.read(value)
    if "processes" in top:
        return processes.read(value)
    if any("connection" in each or "technology" in each for each in services):
        return localport.read(value)
    if any("service" in each or "pod" in each for each in services):
        return kubeport.read(value)
    return kubectl_lines.read(text)
