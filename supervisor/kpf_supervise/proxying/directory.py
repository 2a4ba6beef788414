"""The names that clients of the proxy use: asked of the cluster when they are new, listed as forwards as long as they
are used."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

import trio

from kpf_supervise.api.errors import no_answer
from kpf_supervise.config.contents import Proxy
from kpf_supervise.discovery.questions import Questions
from kpf_supervise.instance.supervisor import Supervisor
from kpf_supervise.kubectl.answers import Malformed
from kpf_supervise.model import Forward, ForwardError
from kpf_supervise.origin import Origin
from kpf_supervise.primitives.signal import Signal
from kpf_supervise.protocols.names import Name, is_for_browsers, is_of_cluster, read_name
from kpf_supervise.protocols.refusal import Refused, Why, from_problem
from kpf_supervise.protocols.services import Destination, find_pod, read_service, to_pod, to_service
from kpf_supervise.proxying.ways import Directly, ThroughForward, Way

_HTTP = 80
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
                if any(each.expires <= now for each in self._used.values()):
                    self._used = {id: each for id, each in self._used.items() if each.expires > now}
                    self._ids = {name: id for name, id in self._ids.items() if id in self._used}
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
            used = await self._listed(name)
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

    async def _listed(self, name: Name) -> _Used:
        """List what a name leads to, unless it is listed. Raises Refused."""
        try:
            questions = await self._questions(name.namespace or self.settings.template.namespace)
            name = replace(name, namespace=questions.namespace)
            if (id := self._ids.get(name)) is None:
                id = await self._add(name, await self._ask(name, questions))
            return self._used[id]
        except ForwardError as trouble:
            raise from_problem(trouble.problem) from None

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
            selector = ",".join(f"{key}={value}" for key, value in (service.spec.selector or {}).items())
            path = f"{questions.pods_path}?limit={_MOST_PODS}{questions.by_labels(selector)}"
            return to_pod(name, service, find_pod(name, await questions.ask(path)))
        except Malformed as error:
            raise ForwardError(no_answer(path, error)) from None

    async def _add(self, name: Name, destination: Destination) -> str:
        async with self._listing:
            id = destination.id
            if id not in self._used:
                self._used[id] = _Used(destination, self._forward(destination), quiet_since=trio.current_time())
                await self._list()
                self._changed.tell()
            self._ids[name] = id
            return id

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
