"""What the kubeconfigs say about the configured clusters, and the version of the kubectl that reads them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from kpf_supervise.config.errors import Mistake
from kpf_supervise.config.values import parse_namespace
from kpf_supervise.kubectl.answers import (
    ClusterFacts,
    ContextFacts,
    KubeConfig,
    Malformed,
    RawKubeConfig,
    VersionInfo,
    Wanted,
    decode,
)
from kpf_supervise.kubectl.command_line import OLDEST, command
from kpf_supervise.kubectl.dispatcher import dispatched_by
from kpf_supervise.kubectl.kubeconfigs import files_of
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.kubectl.process import output
from kpf_supervise.kubectl.proxy import proxy_of
from kpf_supervise.model import Cause, Cluster, ForwardError, Problem
from kpf_supervise.primitives.single_flight import SingleFlight

Marks = tuple[tuple[int, int, int] | None, ...]  # inode, modification time and size of each file; None: not there


def marks_of(cluster: Cluster, environment: Mapping[str, str]) -> Marks:
    """Equal as long as the kubeconfig of this cluster is the same."""
    return tuple(map(_mark, files_of(cluster, environment)))


def _mark(file: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class Resolved(NamedTuple):
    """What the kubeconfig says about a cluster."""

    cluster: Cluster  # with its context named
    namespace: str  # the context's
    access: tuple[Path | None, str, str]  # contexts in which it is equal share cluster entry and user entry
    entry: Mapping[str, Any]  # the user's, without what kubectl takes for secret


class Contexts:
    """The kubeconfigs as the kubectl `binary` reads them."""

    def __init__(self, binary: str, guard: OrphanGuard, notice: Callable[[str], None]) -> None:
        self.binary = binary
        self.version: tuple[int, int] | None = None  # of kubectl; None until known
        self._guard = guard
        self._notice = notice
        self._known: dict[Cluster, Resolved] = {}
        self._answers: SingleFlight[tuple[str, ...], bytes] = SingleFlight()
        self._others = dispatched_by(binary)

    @property
    def versions(self) -> list[tuple[int, int]]:
        """Of kubectl, oldest first: several if it picks one of them. Empty until known."""
        return [each.version for each in self._others] or ([self.version] if self.version else [])

    async def of(self, cluster: Cluster) -> Resolved:
        """Resolve the context. A later `kubectl config use-context` in another terminal does not move a forward. Raises
        ForwardError if the context does not exist or kubectl can't be run."""
        if cluster not in self._known:
            self._known[cluster] = await self.read(cluster)
        return self._known[cluster]

    async def read(self, cluster: Cluster) -> Resolved:
        """As `of`, from the kubeconfig as it is now."""
        return resolve(cluster, await self.view(cluster.kubeconfig), os.environ)

    async def raw_cluster(self, cluster: Cluster) -> Mapping[str, Any]:
        """The cluster's whole entry, with the certificate in it where a file was named. Raises ForwardError."""
        words = ("config", "view", "--raw", "--flatten", "--minify", "-o", "json")
        found = await self._ask(RawKubeConfig, cluster, *words)
        return next((each.cluster for each in found.clusters or () if each.cluster is not None), {})

    async def folder_of(self, cluster: Cluster, user: str) -> Path | None:
        """The folder of the file that names this user: paths in its entry are relative to it. Raises ForwardError."""
        for file in files_of(cluster, os.environ):
            if os.path.exists(file):
                view = await self.view(Path(file))
                if any(each.name == user for each in view.users or ()):
                    return Path(file).absolute().parent
        return None

    async def view(self, kubeconfig: Path | None) -> KubeConfig:
        """What the kubeconfig says now. Raises ForwardError if kubectl can't be run."""
        return await self._ask(KubeConfig, Cluster(kubeconfig), "config", "view", "-o", "json")

    async def check_version(self) -> None:
        """Read kubectl's version, and report one that is too old. An error is not reported here. Of those that a
        dispatcher picks from, the oldest counts: it may have the faults of old ones."""
        if self._others:
            self.version = self._others[0].version
            return
        try:
            answer = await self._ask(VersionInfo, Cluster(), "version", "--client", "-o", "json")
            text = answer.client_version.git_version
            major, minor = map(int, text.lstrip("v").split(".")[:2])
        except (ForwardError, ValueError):
            return  # the next use of kubectl reports it
        first, self.version = self.version is None, (major, minor)
        if first and self.version < OLDEST:
            oldest = f"{OLDEST[0]}.{OLDEST[1]}"
            self._notice(
                f"{self.binary} is kubectl {text}, and {oldest} is the oldest that is known to work. Install a "
                "newer one, or name its path under kubectl: in the configuration"
            )

    async def _ask(self, wanted: type[Wanted], cluster: Cluster, *words: str) -> Wanted:
        line = command(self._others[-1].path if self._others else self.binary, cluster, *words)
        answer = await self._answers.ask(tuple(line), partial(output, line, self._guard, cluster))
        try:
            return decode(answer, wanted)
        except Malformed:
            raise ForwardError(
                Problem(Cause.KUBECTL, f"{self.binary} does not answer as kubectl does", "Name the path of a kubectl")
            ) from None


def resolve(cluster: Cluster, view: KubeConfig, environment: Mapping[str, str]) -> Resolved:
    """What `Contexts.of` returns, from kubectl's `view` of the kubeconfig. Raises ForwardError."""
    name = cluster.context or view.current_context or None
    contexts = {each.name: each.context or ContextFacts() for each in view.contexts or ()}
    known = ", ".join(sorted(contexts))
    if name is None and not _in_cluster(environment):
        raise ForwardError(_no_context(cluster, known, environment))
    if name is not None and name not in contexts:
        raise ForwardError(
            Problem(
                Cause.NO_SUCH_CONTEXT,
                f"the kubeconfig has no context {name}",
                f"It has: {known}" if known else "It has none at all; see: kubectl config view",
            )
        )
    context = contexts[name] if name is not None else ContextFacts()
    clusters = {each.name: each.cluster or ClusterFacts() for each in view.clusters or ()}
    way = clusters.get(context.cluster) or ClusterFacts()
    try:
        namespace = parse_namespace(context.namespace or "default")
    except Mistake as mistake:
        message = f"the namespace of the kubeconfig's context {name}: {mistake.message}"
        raise ForwardError(Problem(Cause.NO_SUCH_NAMESPACE, message, mistake.fix)) from None
    user = {each.name: each.user for each in view.users or ()}.get(context.user) or {}
    resolved = Cluster(cluster.kubeconfig, name, proxy_of(way.server, way.proxy_url, environment))
    return Resolved(resolved, namespace, (cluster.kubeconfig, context.cluster, context.user), user)


def _in_cluster(environment: Mapping[str, str]) -> bool:
    """Whether kubectl finds the API server without a kubeconfig, as in a pod."""
    return bool(environment.get("KUBERNETES_SERVICE_HOST") and environment.get("KUBERNETES_SERVICE_PORT"))


def _no_context(cluster: Cluster, known: str, environment: Mapping[str, str]) -> Problem:
    if known:
        message = "the kubeconfig has no current context"
        return Problem(Cause.NO_SUCH_CONTEXT, message, f"Name one under context: in the configuration. It has: {known}")
    listed = environment.get("KUBECONFIG", "")
    if cluster.kubeconfig is not None:
        message = f"the kubeconfig {cluster.kubeconfig} names no context"
    elif listed:
        message = f"no kubeconfig was found: $KUBECONFIG is {listed}, and nothing there names a context"
    else:
        message = "no kubeconfig was found: ~/.kube/config names no context or is not there, and $KUBECONFIG is not set"
    step = (
        "Log in with the cluster's own tool, which writes one, or set $KUBECONFIG, or kubeconfig: in the configuration"
    )
    return Problem(Cause.NO_SUCH_CONTEXT, message, step)
