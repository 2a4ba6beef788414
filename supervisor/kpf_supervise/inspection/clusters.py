"""The clusters that a file names: each is reached once, and asked once for whatever several forwards want to know."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import trio

from kpf_supervise.api.errors import no_answer
from kpf_supervise.api.process import REVIEWS
from kpf_supervise.inspection.findings import CheckedCluster
from kpf_supervise.inspection.rights import Right, read_review, review
from kpf_supervise.inspection.session import Session
from kpf_supervise.inspection.versions import skew
from kpf_supervise.kubectl.answers import Malformed, Version, decode
from kpf_supervise.kubectl.command_line import command
from kpf_supervise.model import Cause, Cluster, ForwardError, Problem
from kpf_supervise.text import one_line
from kpf_supervise.watching.pods import Pod, PodSet, read_pod
from kpf_supervise.watching.questions import Questions
from kpf_supervise.watching.services import Service, read_service

_T = TypeVar("_T")
_VERSION = "/version"  # every user may read it: ClusterRole system:public-info-viewer


class _Once(Generic[_T]):
    """What is asked once, whoever wants it; a failure is an answer, too."""

    def __init__(self) -> None:
        self._lock = trio.Lock()
        self._found: list[_T] = []
        self._problem: Problem | None = None

    async def get(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Raises ForwardError."""
        async with self._lock:
            if not self._found and self._problem is None:
                try:
                    self._found.append(await ask())
                except ForwardError as trouble:
                    self._problem = trouble.problem
        if self._problem is not None:
            raise ForwardError(self._problem)
        return self._found[0]


class Clusters:
    """Every method raises ForwardError."""

    def __init__(self, session: Session, clusters: Iterable[Cluster]) -> None:
        self._found = {each: CheckedCluster(context=each.context, kubeconfig=each.kubeconfig) for each in clusters}
        self._session = session
        self._answers: dict[Hashable, _Once[Any]] = {}

    @property
    def found(self) -> list[CheckedCluster]:
        """In the order in which they were given; the current context may be named as well."""
        return list({(each.context, each.kubeconfig): each for each in self._found.values()}.values())

    def _once(self, key: Hashable) -> _Once[Any]:
        return self._answers.setdefault(key, _Once())

    async def reach(self, cluster: Cluster, namespace: str | None) -> Questions:
        """For questions about a namespace, once the API server has answered the first one. So what is wrong with the
        cluster or the sign-in is found out once, and costs its time limit once."""
        await self._once(cluster).get(lambda: self._connect(cluster))
        return await self._session.questions(cluster, namespace)

    async def _connect(self, cluster: Cluster) -> None:
        found = self._found[cluster]
        try:
            questions = await self._session.questions(cluster, None)
            found.context = questions.cluster.context
            login = questions.api.login
            found.user = one_line(login.access[2]) or None
            try:
                data = await questions.ask(_VERSION)
            finally:  # which plugin, also if it fails
                found.plugin = login.plugin.name if login.plugin is not None else None
            try:
                found.server = one_line(decode(data, Version).git_version.removeprefix("v"))
            except Malformed as error:
                raise ForwardError(no_answer(_VERSION, error)) from None
        except ForwardError as trouble:
            found.problem = trouble.problem
            raise
        if hint := skew(self._session.contexts.versions, found.server):
            found.hints.append(hint)

    async def pods(self, questions: Questions) -> PodSet:
        """All of the namespace."""

        async def ask() -> PodSet:
            return PodSet((await questions.list_all(questions.pods_path, read_pod))[1])

        once: _Once[PodSet] = self._once(("pods", questions.cluster, questions.namespace))
        return await once.get(ask)

    async def services(self, questions: Questions) -> Sequence[Service]:
        """All of the namespace, which exists."""

        async def ask() -> Sequence[Service]:
            found = (await questions.list_all(questions.path_of_all("services"), read_service))[1]
            if not found:
                await questions.check_namespace()
            return found

        once: _Once[Sequence[Service]] = self._once(("services", questions.cluster, questions.namespace))
        return await once.get(ask)

    async def pod(self, questions: Questions, name: str) -> Pod:
        path = f"{questions.pods_path}/{name}"
        try:
            return read_pod(await questions.find(path))
        except Malformed as error:
            raise ForwardError(no_answer(path, error)) from None

    async def rights(self, questions: Questions, namespace: str, rights: Iterable[Right]) -> dict[Right, bool]:
        """Which of these the user has. An empty namespace is all of them. Not asked where kubectl itself signs in: a
        second kubectl could open a second window for it."""
        if questions.api.login.by_kubectl:
            kubectl = shlex.join(command("kubectl", questions.cluster))
            raise ForwardError(
                Problem(
                    Cause.OTHER,
                    "each kubectl signs in by itself there, and asking takes another one",
                    f"Check with: {kubectl} auth can-i --list --namespace={namespace}",
                )
            )
        api = self._session.rights(questions)
        found: dict[Right, bool] = {}

        async def ask_for(right: Right) -> bool:
            try:
                return read_review(await api.read(REVIEWS, review(right, namespace)))
            except Malformed as error:
                raise ForwardError(no_answer(REVIEWS, error)) from None

        for right in rights:
            once: _Once[bool] = self._once((right, namespace, questions.cluster))
            found[right] = await once.get(partial(ask_for, right))
        return found
