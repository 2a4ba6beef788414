"""Writes kubeconfigs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kpf_supervise.sandbox.content import NAMESPACE

Context = tuple[dict[str, Any], dict[str, Any]]  # user and cluster of a kubeconfig


def write_kubeconfig(file: Path, **contexts: Context) -> Path:
    """Write a kubeconfig with these contexts, all in the namespace dev; the first is the current one. Return `file`.

    A key of a cluster is left out if its value is None.
    """
    clusters = {name: {k: v for k, v in cluster.items() if v is not None} for name, (_, cluster) in contexts.items()}
    words = {name: {"cluster": name, "user": name, "namespace": NAMESPACE} for name in contexts}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": next(iter(contexts)),
        "contexts": [{"name": name, "context": words[name]} for name in contexts],
        "clusters": [{"name": name, "cluster": clusters[name]} for name in contexts],
        "users": [{"name": name, "user": user} for name, (user, _) in contexts.items()],
    }
    file.write_text(json.dumps(config, indent=2) + "\n")
    return file
