"""The names that clients of the proxy use: asked of the cluster when they are new, listed as forwards as long as they
are used."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from functools import partial

import trio

from kpf_supervise.api.errors import no_answer
from kpf_supervise.config.contents import Proxy
from kpf_supervise.instance.supervisor import Supervisor
from kpf_supervise.kubectl.answers import Malformed
from kpf_supervise.model import LOGIN, OUTAGE, Cause, Forward, ForwardError, Problem
from kpf_supervise.origin import Origin
from kpf_supervise.primitives.backoff import delay
from kpf_supervise.primitives.signal import Signal
from kpf_supervise.protocols.names import Name, is_for_browsers, is_of_cluster, read_name
from kpf_supervise.protocols.refusal import Refused, Why, from_problem
from kpf_supervise.protocols.services import Destination, find_pod, is_pod_of, read_service, to_pod, to_service
from kpf_supervise.proxying.ways import Directly, ThroughForward, Way
from kpf_supervise.watching.questions import Questions

MOST = 50  # names at once, each of which has a kubectl
_FULL = Problem(
    Cause.OTHER, f"{MOST} names of the proxy have open connections, and it keeps no more", "Close some of them"
)
_HTTP = 80
_AGAIN = (0.5, 3.0)  # seconds: first and longest pause if the API server answers others, but not this question
_MOST_PODS = 500  # of a headless service that are looked through for a hostname


@dataclass(slots=True)
class _Used:
    """A name that is listed."""

    destination: Destination
    forward: Forward
    users: int = 0
    quiet_since: float = 0.0  # trio's time; valid while there are no users

    @property
    def expires(self) -> float:
        timeout = self.forward.idle_timeout
        return math.inf if self.users or timeout is None else self.quiet_since + timeout


class Directory:
    """`settings` are the proxy's; `change` them with the method of that name."""

    def __init__(self, settings: Proxy, supervisor: Supervisor) -> None:
        self.settings = settings
        self._supervisor = supervisor
        self._used: dict[str, _Used] = {}  # by the forward's id
        self._ids: dict[Name, str] = {}  # of names in full
        self._changed = Signal()
        self._listing = trio.Lock()

    async def run(self) -> None:
        """Take names off the list after their idle time. Never returns by itself."""
        while True:
            with trio.move_on_at(min((each.expires for each in self._used.values()), default=math.inf)):
                await self._changed.wait()
            async with self._listing:
                now = trio.current_time()
                if expired := {id for id, each in self._used.items() if each.expires <= now}:
                    self._drop(expired)
                    await self._list()

    async def change(self, settings: Proxy) -> None:
        """Names that the new settings don't allow leave the list; the others keep their connections, unless their own
        settings have changed."""
        async with self._listing:
            moved = settings.template.cluster != self.settings.template.cluster
            self.settings = settings
            self._ids = {}  # an unchanged forward is found again by its id
            allowed = settings.namespaces
            self._used = {
                id: each
                for id, each in self._used.items()
                if not moved and (not allowed or each.destination.namespace in allowed)
            }
            for each in self._used.values():
                each.forward = self._forward(each.destination)
            await self._list()
            self._changed.tell()

    async def clear(self) -> None:
        """The proxy ends: none of its names stays listed."""
        async with self._listing:
            self._used, self._ids = {}, {}
            await self._list()

    async def warm_up(self) -> None:
        """Have the kubectl that reads from the cluster started before the first name is asked for. A failure is told
        to whoever asks then."""
        try:
            await (await self._questions(self.settings.template.namespace)).ask("/version")
        except ForwardError:
            return

    async def namespaces(self) -> list[str]:
        """Those whose names can be reached. Raises Refused."""
        if self.settings.namespaces:
            return list(self.settings.namespaces)
        try:
            return await self._supervisor.catalog.namespaces(self.settings.template.cluster)
        except ForwardError as trouble:
            raise from_problem(trouble.problem) from None

    async def find(self, host: str, port: int | None, peer: str) -> Way:
        """The way to what a client (`peer` is its address) has asked for. Raises Refused."""
        if is_for_browsers(host) and port in (_HTTP, self.settings.port):
            port = None  # it is the port at which the browser finds the proxy
        try:
            name = read_name(host, port)
            if self._is_elsewhere(host, name):
                raise Refused(Why.NO_SUCH_NAME, f"namespace {name.namespace} is not one of those of the proxy.")
            used = await self._held(name)
        except Refused as refused:
            other = refused.why in (Why.NO_SUCH_NAME, Why.ADDRESS) and not is_of_cluster(host)
            if not (self.settings.direct and other and port is not None):
                raise
            return Directly(host, port)
        hand_over = partial(self._supervisor.hand_over, used.forward.id)
        return ThroughForward(peer, hand_over, partial(self._use, used), partial(self._leave, used))

    def _is_elsewhere(self, host: str, name: Name) -> bool:
        """Whether a name goes its own way without a question to the cluster."""
        allowed = self.settings.namespaces
        return self.settings.direct and bool(allowed) and name.namespace not in (None, *allowed)

    def _use(self, used: _Used) -> None:
        used.users += 1

    def _leave(self, used: _Used) -> None:
        used.users -= 1
        used.quiet_since = trio.current_time()
        if not used.users:
            self._changed.tell()

    async def _questions(self, namespace: str | None) -> Questions:
        return await self._supervisor.catalog.questions(self.settings.template.cluster, namespace)

    async def _held(self, name: Name) -> _Used:
        """List what a name leads to, unless it is listed. While the API server does not say what that is, or too many
        names have connections, the client is held as one of a forward is. Raises Refused."""
        try:
            questions = await self._questions(name.namespace or self.settings.template.namespace)
        except ForwardError as trouble:
            raise from_problem(trouble.problem) from None
        name = replace(name, namespace=questions.namespace)
        questions.api.login.call()
        until, failures = trio.current_time() + self.settings.template.hold, 0
        with trio.CancelScope() as patience:  # the first question has a limit of its own
            while True:
                try:
                    return await self._listed(name, questions)
                except ForwardError as trouble:
                    problem = trouble.problem
                patience.deadline = until
                if problem is _FULL:
                    await self._changed.wait()
                elif problem.cause not in OUTAGE | LOGIN:
                    raise from_problem(problem)
                elif not await self._supervisor.watches.outage(questions).over(problem):
                    await trio.sleep(delay(*_AGAIN, failures))
                    failures += 1
        raise Refused(Why.NOT_IN_TIME, f"{problem}.")

    async def _listed(self, name: Name, questions: Questions) -> _Used:
        """Raises Refused and ForwardError."""
        if (id := self._ids.get(name)) is None:
            id = await self._add(name, await self._ask(name, questions))
        return self._used[id]

    async def _ask(self, name: Name, questions: Questions) -> Destination:
        """Ask the cluster what a name leads to. Raises Refused and ForwardError."""
        allowed = self.settings.namespaces
        if allowed and name.namespace not in allowed:
            raise Refused(
                Why.DENIED,
                f"namespace {name.namespace} is not one of those that the proxy may reach: {', '.join(allowed)}.",
            )
        path = f"{questions.path_of_all('services')}/{name.service}"
        try:
            service = read_service(name, await questions.find(path))
            if name.pod is None:
                return to_service(name, service)
            path = f"{questions.pods_path}/{name.pod}"
            try:  # most often it is the pod's own name: that costs less, and needs no right to list pods
                if is_pod_of(service, await questions.ask(path)):
                    return to_pod(name, service, name.pod)
            except ForwardError as trouble:
                if trouble.problem.cause not in (Cause.NO_SUCH_OBJECT, Cause.FORBIDDEN):
                    raise
            selector = ",".join(f"{key}={value}" for key, value in (service.spec.selector or {}).items())
            path = f"{questions.pods_path}?limit={_MOST_PODS}{questions.by_labels(selector)}"
            return to_pod(name, service, find_pod(name, await questions.ask(path)))
        except Malformed as error:
            raise ForwardError(no_answer(path, error)) from None

    async def _add(self, name: Name, destination: Destination) -> str:
        """Raises ForwardError if there is no room."""
        async with self._listing:
            id = destination.id
            if id not in self._used:
                self._make_room()
                self._used[id] = _Used(destination, self._forward(destination), quiet_since=trio.current_time())
                await self._list()
                self._changed.tell()
            self._ids[name] = id
            return id

    def _make_room(self) -> None:
        """For one more name, in place of the one that has been without a connection for longest. Raises ForwardError if
        all of them have one."""
        if len(self._used) < MOST:
            return
        idle = [id for id, each in self._used.items() if not each.users]
        if not idle:
            raise ForwardError(_FULL)
        self._drop({min(idle, key=lambda id: self._used[id].quiet_since)})

    def _drop(self, ids: Container[str]) -> None:
        self._used = {id: each for id, each in self._used.items() if id not in ids}
        self._ids = {name: id for name, id in self._ids.items() if id not in ids}

    def _forward(self, destination: Destination) -> Forward:
        return replace(
            self.settings.template,
            id=destination.id,
            target=destination.target,
            remote=destination.port,
            namespace=destination.namespace,
            local=self.settings.port,
            address=self.settings.address,
        )

    async def _list(self) -> None:
        forwards: Iterable[Forward] = [each.forward for each in self._used.values()]
        await self._supervisor.apply({Origin.PROXY: forwards})
