"""What the clusters have to forward to: contexts, namespaces, targets and ports, for people who choose from them.

Each question is asked when somebody wants to know, through the kubectl that reads for the forwards of that cluster and
user. Nothing is watched, and no answer is kept.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import trio

from kpf_supervise.api.errors import no_answer
from kpf_supervise.discovery.choice import destination, path_of
from kpf_supervise.kubectl.answers import KubeConfig, Malformed
from kpf_supervise.kubectl.contexts import Contexts
from kpf_supervise.model import Cause, Cluster, ForwardError, Problem, Target
from kpf_supervise.watching.listing import Listed, Port, read_names, read_ports, read_targets
from kpf_supervise.watching.questions import Questions
from kpf_supervise.watching.watches import Watches

KINDS = ("service", "deployment", "statefulset", "daemonset", "pod")  # ReplicaSets are a Deployment's, nearly always
_MOST = "?limit=500"  # objects of a kind that are listed: more than anybody chooses from


class Catalog:
    """Every method raises ForwardError."""

    def __init__(self, contexts: Contexts, watches: Watches) -> None:
        self._contexts = contexts
        self._watches = watches

    async def questions(self, cluster: Cluster, namespace: str | None) -> Questions:
        """For single objects of a namespace; None is the context's own."""
        return await self._watches.questions(cluster, namespace)

    async def contexts(self, kubeconfig: Path | None) -> KubeConfig:
        return await self._contexts.view(kubeconfig)

    async def namespaces(self, cluster: Cluster) -> list[str]:
        """All of the cluster; where listing them is forbidden, that of the context."""
        questions = await self._watches.questions(cluster, None)
        path = "/api/v1/namespaces"
        try:
            return read_names(await questions.ask(f"{path}{_MOST}"))
        except Malformed as error:
            raise ForwardError(no_answer(path, error)) from None
        except ForwardError as trouble:
            if trouble.problem.cause is not Cause.FORBIDDEN:
                raise
            return [questions.namespace]

    async def targets(self, cluster: Cluster, namespace: str | None) -> list[Listed]:
        """Services first, then workloads, then pods. A kind that must not be listed is left out; if all of them are,
        the first refusal is raised."""
        questions = await self._watches.questions(cluster, namespace)
        found: dict[str, list[Listed]] = {}
        refused: dict[str, Problem] = {}

        async def list_kind(kind: str) -> None:
            try:
                found[kind] = await self._list(questions, kind)
            except ForwardError as trouble:
                refused[kind] = trouble.problem

        async with trio.open_nursery() as nursery:
            for kind in KINDS:
                nursery.start_soon(partial(list_kind, kind))
        if not found:
            raise ForwardError(refused[KINDS[0]])
        return [each for kind in KINDS for each in found.get(kind, ())]

    async def ports(self, cluster: Cluster, namespace: str | None, target: Target) -> tuple[Port, ...]:
        """The TCP ports that the target declares; of a label selector, those of its pods. A service without a selector
        is refused."""
        questions = await self._watches.questions(cluster, namespace)
        if target.kind == "selector":
            pods = await self._list(questions, "pod", target.name)
            return tuple(dict.fromkeys(port for pod in pods for port in pod.ports))
        path = path_of(target, questions.namespace) or f"{questions.pods_path}/{target.name}"
        try:
            data = await questions.find(path)
            destination(target, data)
            return read_ports(target.kind, data)
        except Malformed as error:
            raise ForwardError(no_answer(path, error)) from None

    async def _list(self, questions: Questions, kind: str, selector: str = "") -> list[Listed]:
        path = questions.path_of_all(f"{kind}s")
        try:
            return read_targets(kind, await questions.ask(f"{path}{_MOST}{questions.by_labels(selector)}"))
        except Malformed as error:
            raise ForwardError(no_answer(path, error)) from None
