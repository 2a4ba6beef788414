"""Which files kubectl reads as its kubeconfig. Imports little: kpfctl asks this too, and starts quickly."""

from __future__ import annotations

import os
from collections.abc import Mapping

from kpf_supervise.model import Cluster


def files_of(cluster: Cluster, environment: Mapping[str, str]) -> list[str]:
    """The files that kubectl merges for this cluster; the first one that names something decides."""
    if cluster.kubeconfig is not None:
        return [str(cluster.kubeconfig)]
    listed = environment.get("KUBECONFIG", "")
    return listed.split(os.pathsep) if listed else [os.path.expanduser("~/.kube/config")]


def paths_of(cluster: Cluster, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The same as absolute paths: equal for two programs, whatever their working directories are, if kubectl reads the
    same files for both."""
    return tuple(os.path.abspath(file) for file in files_of(cluster, environment) if file)
