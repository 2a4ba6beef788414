"""The methods of the control socket that ask the cluster what there is to forward to: for completion and for forms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kpf_supervise.discovery.catalog import Catalog
from kpf_supervise.kubectl.kubeconfigs import paths_of
from kpf_supervise.model import ANYWHERE, Cluster, Forward, Target
from kpf_supervise.text import one_line
from kpf_supervise.watching.listing import Port


async def answer(
    method: str,
    catalog: Catalog,
    template: Forward,
    kubeconfig: Path | None = None,
    context: str | None = None,
    namespace: str | None = None,
    target: Target | None = None,
) -> Any:
    """The result of `contexts`, `namespaces`, `targets` or `ports`; what is not given is the `template`'s. Raises
    ForwardError."""
    cluster = cluster_of(template, kubeconfig, context)
    match method:
        case "contexts":
            view = await catalog.contexts(cluster.kubeconfig)
            now = cluster.context or view.current_context
            return [
                {
                    "name": each.name,
                    "namespace": one_line(each.context.namespace) if each.context else "",
                    "current": each.name == now,
                }
                for each in view.contexts or ()
                if each.name.isprintable()  # no other one can be named in a forward
            ]
        case "namespaces":
            return await catalog.namespaces(cluster)
        case "targets":
            found = await catalog.targets(cluster, namespace or template.namespace)
            return [{"target": str(each.target), "ports": list(map(_port, each.ports))} for each in found]
    assert target is not None
    return list(map(_port, await catalog.ports(cluster, namespace or template.namespace, target)))


def cluster_of(template: Forward, kubeconfig: Path | None, context: str | None) -> Cluster:
    """The template's context is one of its own kubeconfig: with another one, that file's current context counts."""
    if kubeconfig is not None:
        return Cluster(kubeconfig, context)
    return Cluster(template.cluster.kubeconfig, context or template.cluster.context)


def cluster_in(kubeconfigs: tuple[str, ...], context: str | None, environment: Mapping[str, str]) -> Cluster | None:
    """A context of the kubeconfigs of another program; None if kubectl can't be told here to read them: it takes one
    file on its command line, and a list only from the environment of this instance."""
    if kubeconfigs == paths_of(ANYWHERE, environment):
        return Cluster(context=context)
    return Cluster(Path(kubeconfigs[0]), context) if len(kubeconfigs) == 1 else None


def _port(port: Port) -> dict[str, Any]:
    return {"port": port.number, "name": port.name}
