"""Command lines in the values of other files: those of a process-compose.yaml, and the scripts of a package.json.
Pure."""

from __future__ import annotations

from typing import Any

from kpf_supervise.importing import kubectl_lines
from kpf_supervise.importing.documents import as_group, as_list, as_text
from kpf_supervise.importing.found import Found


def read(value: Any) -> Found:
    """What else runs there, and in which order, is none of our business."""
    found = Found(tool="process-compose")
    for name, process in as_group(as_group(value).get("processes")).items():
        each = as_group(process)
        text = as_text(each.get("command"))
        read = kubectl_lines.read(text, name, f"processes.{name}")
        environment = dict(as_text(line).partition("=")[::2] for line in as_list(each.get("environment")))
        for entry in read.forwards:
            if "KUBECONFIG" in environment:
                entry.options.setdefault("kubeconfig", environment["KUBECONFIG"])
            if as_text(each.get("disabled")) == "true":
                entry.options["enabled"] = "false"
        found.forwards += read.forwards
        found.services += read.services
        found.lost += read.lost
    return found


def read_strings(value: Any, path: str = "", name: str = "") -> Found:
    """All texts in a document."""
    found = Found(tool="kubectl port-forward lines")
    if isinstance(value, str):
        return kubectl_lines.read(value, name, path)
    for key, each in value.items() if isinstance(value, dict) else enumerate(as_list(value)):
        inner = read_strings(each, f"{path}.{key}" if path else str(key), str(key))
        found.forwards += inner.forwards
        found.services += inner.services
        found.lost += inner.lost
    return found
