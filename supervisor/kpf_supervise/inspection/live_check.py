"""Asks the clusters whether what a file declares would work. Nothing is forwarded, and no local port is kept."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import trio

from kpf_supervise.api.errors import no_answer
from kpf_supervise.config.contents import Config, Proxy, ServiceGroup
from kpf_supervise.discovery.choice import (
    Destination,
    choose,
    destination,
    path_of,
    ready,
    remote_port,
    service_port,
    unmapped,
)
from kpf_supervise.discovery.sight import Sight
from kpf_supervise.inspection.clusters import Clusters
from kpf_supervise.inspection.findings import Checked, Report
from kpf_supervise.inspection.local import Held, check_local_ports
from kpf_supervise.inspection.rights import OF_PODS, OPTIONAL, Right, by_resource, missing, needed
from kpf_supervise.inspection.session import Session
from kpf_supervise.inspection.versions import shown
from kpf_supervise.kubectl.answers import Malformed
from kpf_supervise.model import Cause, Cluster, Forward, ForwardError, Problem, Target
from kpf_supervise.sources.following import some
from kpf_supervise.sources.members import forwards_of as forwards_of_members
from kpf_supervise.sources.members import members
from kpf_supervise.sources.namespaces import Addresses, Known, forwards_of
from kpf_supervise.watching.pods import Pod, PodSet
from kpf_supervise.watching.questions import Questions

_WEBSOCKETS = (1, 31)  # the kubectl that asks for them first


async def check(session: Session, config: Config, name: str, held: Held) -> Report:
    """`name` of the file; `held` are the local ports of an instance that runs with it."""
    report = Report(config=name, kubectl=shutil.which(session.contexts.binary) or session.contexts.binary)
    await session.contexts.check_version()
    report.version = shown(session.contexts.versions)
    declared = (*config.forwards, *config.each, *(each.template for each in config.services))
    templates = [*declared, *([config.proxy.template] if config.proxy is not None else [])]
    checks = _Checks(session, [each.cluster for each in templates if each.enabled])
    tasks: list[tuple[Checked, Callable[[], Awaitable[None]]]] = []
    for forward in (*config.forwards, *config.each):
        found = _found(forward, "each" if forward in config.each else "forward")
        tasks.append((found, partial(checks.forward, found, forward)))
    for number, group in enumerate(config.services):
        found = _found(group.template, "services", f"services[{number}]")
        tasks.append((found, partial(checks.services, found, group)))
    if config.proxy is not None:
        found = _found(config.proxy.template, "proxy", "proxy")
        tasks.append((found, partial(checks.proxy, found, config.proxy)))
    report.found = [found for found, _ in tasks]
    async with trio.open_nursery() as nursery:
        for found, look in tasks:
            if found.enabled:
                nursery.start_soon(_guarded, session, found, look)
    await check_local_ports(report.found, held)
    report.clusters = checks.clusters.found
    return report


def _found(forward: Forward, kind: str, id: str = "") -> Checked:
    of_one = kind in ("forward", "each")
    return Checked(
        id=id or forward.id,
        kind=kind,
        enabled=forward.enabled,
        context=forward.cluster.context,
        namespace=forward.namespace,
        target=str(forward.target) if of_one else None,
        remote=forward.remote if of_one else None,
        address=forward.address,
        local=forward.local if of_one else None,
        forwards=[forward] if kind == "forward" else [],
    )


async def _guarded(session: Session, found: Checked, look: Callable[[], Awaitable[None]]) -> None:
    """What goes wrong with one hides no other."""
    try:
        await look()
    except ForwardError as trouble:
        found.problems.append(trouble.problem)
    except Exception as error:
        found.problems.append(Problem(Cause.INTERNAL, session.board.bug(error, f"checking {found.id}")))


class _Checks:
    """Each method fills in a Checked, or raises ForwardError."""

    def __init__(self, session: Session, clusters: Iterable[Cluster]) -> None:
        self.clusters = Clusters(session, clusters)
        self._with_websockets = any(version >= _WEBSOCKETS for version in session.contexts.versions)

    async def forward(self, found: Checked, forward: Forward) -> None:
        questions = await self._reach(found, forward)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._rights, found, questions, needed(forward.target))
            with _noted(found):
                await self._target(found, questions, forward)

    async def services(self, found: Checked, group: ServiceGroup) -> None:
        questions = await self._reach(found, group.template)
        rights = [*OF_PODS, Right("list", "services"), Right("watch", "services")]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._rights, found, questions, rights)
            with _noted(found):
                services = await self.clusters.services(questions)
                known = forwards_of([Known(group, questions.namespace, services)], Addresses())
                found.forwards, found.services = known.forwards, len({each.target for each in known.forwards})
                if known.left_out:
                    found.hints.append(Problem(Cause.NO_SELECTOR, f"can't be forwarded: {some(known.left_out)}"))
                if not known.forwards:
                    nothing = f"namespace {questions.namespace} has no service to forward to yet"
                    found.hints.append(Problem(Cause.NO_SUCH_OBJECT, nothing))

    async def proxy(self, found: Checked, proxy: Proxy) -> None:
        found.forwards = [replace(proxy.template, id="proxy", proxied=False, address=proxy.address, local=proxy.port)]
        found.address, found.local = proxy.address, proxy.port
        questions = await self._reach(found, proxy.template)
        rights = [*OF_PODS, Right("get", "services")]
        for namespace in proxy.namespaces or ("",):
            await self._rights(found, questions, rights, namespace)
        if not proxy.namespaces:  # what is not allowed everywhere may be allowed where it is wanted
            found.hints += [each for each in found.problems if each.cause is Cause.FORBIDDEN]
            found.problems = [each for each in found.problems if each.cause is not Cause.FORBIDDEN]

    async def _reach(self, found: Checked, forward: Forward) -> Questions:
        questions = await self.clusters.reach(forward.cluster, forward.namespace)
        found.context, found.namespace = questions.cluster.context, questions.namespace
        return questions

    async def _rights(
        self, found: Checked, questions: Questions, rights: list[Right], namespace: str | None = None
    ) -> None:
        """What must be read is found out by reading it: of the other rights, one that is missing is a problem."""
        where = questions.namespace if namespace is None else namespace
        try:
            given = await self.clusters.rights(questions, where, rights)
        except ForwardError as trouble:
            message = f"what you may do is not known: {trouble.problem.message}"
            found.hints.append(replace(trouble.problem, message=message))
            return
        found.rights |= {str(right): found.rights.get(str(right), True) and has for right, has in given.items()}
        lacking = [right for right, has in given.items() if not has]
        needed = [each for each in lacking if str(each) not in OPTIONAL and not _is_read(found.kind, each)]
        found.problems += [missing(group, where) for group in by_resource(needed)]
        for right in lacking:
            if str(right) in OPTIONAL and (self._with_websockets or str(right) != "get pods/portforward"):
                told = missing([right], where)
                found.hints.append(replace(told, message=f"{told.message}: {OPTIONAL[str(right)]}"))

    async def _target(self, found: Checked, questions: Questions, forward: Forward) -> None:
        """The object, its pods, and the port."""
        target, namespace = forward.target, questions.namespace
        where, pods = await self._read(questions, target)
        matched = [pod for pod in pods if where.selector is None or where.selector.matches(pod.labels)]
        usable = ready(where, pods, None, None)
        found.pods, found.ready = len(matched), len(usable)
        choice = choose(where, pods)
        if found.kind == "each":
            of_members = members(matched, (), {})
            found.forwards, left_out = forwards_of_members(forward, where, namespace, of_members, {})
            if left_out:
                found.problems.append(Problem(Cause.NO_SUCH_PORT, f"can't be forwarded: {some(left_out)}"))
        else:
            with _noted(found):
                pod = choice.pod or next(iter(matched), None)
                found.pod_port = _pod_port(where, pod, forward.remote)
                found.hints += _headless(where, pod, forward.remote)
        if not usable:
            sight = Sight(target=target, cluster=questions.cluster, namespace=namespace)
            found.problems.append(sight.none_ready(choice.reason))

    async def _read(self, questions: Questions, target: Target) -> tuple[Destination, PodSet]:
        if target.kind == "pod":
            return Destination(target), PodSet([await self.clusters.pod(questions, target.name)])
        path = path_of(target, questions.namespace)
        data = await questions.find(path) if path else None
        try:
            return destination(target, data), await self.clusters.pods(questions)
        except Malformed as error:
            raise ForwardError(no_answer(path or questions.pods_path, error)) from None


def _is_read(kind: str, right: Right) -> bool:
    """Whether something is read anyway that needs this right."""
    if right.resource == "pods/portforward":
        return False
    if kind in ("forward", "each"):
        return right.verb == "list" or bool(right.name)
    return kind == "services" and str(right) == "list services"


def _pod_port(where: Destination, pod: Pod | None, remote: int | str) -> int | None:
    """None if it is not known without a pod. Raises ForwardError."""
    if pod is not None:
        return remote_port(where, pod, remote)
    if where.service is not None:
        service_port(where.target, where.service, remote)
    return None


def _headless(where: Destination, pod: Pod | None, remote: int | str) -> list[Problem]:
    if where.service is None:
        return []
    port = service_port(where.target, where.service, remote)
    behind = unmapped(where.service, port)
    if behind is None or (pod is not None and pod.ports.get(str(behind), behind) == port.port):
        return []
    message = f"{where.target} is headless, and kubectl leads to port {port.port} of its pods, not to {behind}"
    return [
        Problem(Cause.NO_SUCH_PORT, message, f"If nothing listens there, name the workload or a selector: {behind}")
    ]


@contextmanager
def _noted(found: Checked) -> Iterator[None]:
    """Around a part of the check: what is wrong with it hides nothing else."""
    try:
        yield
    except ForwardError as trouble:
        found.problems.append(trouble.problem)
