"""Where one forward's pods are: its target, read once, and the shared watch of their namespace."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import trio

from kpf_supervise.discovery.choice import Destination, choose, concerns, destination, path_of, remote_port
from kpf_supervise.discovery.pods import Pod
from kpf_supervise.discovery.questions import no_answer
from kpf_supervise.discovery.watch import Watch
from kpf_supervise.discovery.watches import Watches
from kpf_supervise.kubectl.answers import Malformed
from kpf_supervise.kubectl.command_line import command
from kpf_supervise.model import FINAL, Cause, Cluster, Forward, ForwardError, Problem
from kpf_supervise.primitives.backoff import delay
from kpf_supervise.primitives.signal import Signal

_REREAD = (5.0, 30.0)  # seconds between two reads of a target that has no ready pod: first, longest


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a child forwards to. `pod` is None if listing pods is forbidden: kubectl then finds the pod itself."""

    watch: Watch
    pod: Pod | None
    what: str  # kubectl's argument
    remote: int | str

    @property
    def label(self) -> str:
        return self.pod.name if self.pod else self.what


class TargetResolver:
    """Finds the pod to use, and knows when to use another. Its background tasks run in `nursery`."""

    def __init__(self, settings: Forward, watches: Watches, signal: Signal, changed: Callable[[], None]) -> None:
        self.nursery: trio.Nursery
        self.pod: Pod | None = None  # in use, or last used
        self.look_again = False  # the target's object may have changed since it was read
        self._settings = settings
        self._watches = watches
        self._signal = signal
        self._changed = changed
        self._watch: Watch | None = None
        self._where: Destination | None = None
        self._family: tuple[str, str] | None = None  # the controller of a pod given by name
        self._gone = ""  # why the last reread of the target found nothing
        self._rereading = False

    def close(self) -> None:
        if self._watch is not None:
            self._watch.listeners.discard(self._hear)

    async def look_up(self) -> Watch:
        """Find out what does not depend on a pod: the target, and its namespace's watch. Raises ForwardError."""
        if self._watch is None:
            self._watch = await self._watches.of(self._settings.cluster, self._settings.namespace)
            self._watch.listeners.add(self._hear)
        if self._where is None or self.look_again:
            await self._read_target()
        return self._watch

    async def _read_target(self) -> None:
        assert self._watch is not None
        target = self._settings.target
        path = path_of(target, self._watch.namespace)
        data = await self._ask(path) if path else None
        try:
            self._where = destination(target, data)
        except Malformed as error:
            raise ForwardError(no_answer(path or "", error)) from None
        self.look_again, self._gone = False, ""

    async def find(self, waiting: Callable[[str], None]) -> Endpoint:
        """Return the pod to use, as soon as there is one. `waiting` gets the reason for a wait. Raises ForwardError."""
        target = self._settings.target
        readings = 0 if self._where is not None and not self.look_again else 1  # of the target
        watch = await self.look_up()
        reread_at = trio.current_time() + (delay(*_REREAD, 0) if readings else 0.0)
        if watch.denied and not watch.blind:
            await watch.refresh()
        said, was_gone = "", False
        while True:
            assert self._where is not None
            if watch.problem is not None:
                raise ForwardError(watch.problem)
            if watch.blind:
                if target.kind == "selector":
                    raise ForwardError(Problem(Cause.FORBIDDEN, "a selector needs the right to list pods"))
                return Endpoint(watch, None, str(target), self._settings.remote)
            if watch.listed:
                choice = choose(self._where, watch.pods, self.pod, self._family)
                self._family = choice.family
                if choice.pod is not None:
                    remote = remote_port(self._where, choice.pod, self._settings.remote)
                    return Endpoint(watch, choice.pod, f"pod/{choice.pod.name}", remote)
                if choice.missing:
                    await self._ask(f"/api/v1/namespaces/{watch.namespace}/pods/{target.name}")
                if watch.denied:
                    raise ForwardError(self.none_ready(choice.reason))
                reason = self._gone or choice.reason
                if not said or ((self._gone or choice.stuck) and reason != said) or (was_gone and not self._gone):
                    said = reason
                    waiting(said)
                was_gone = bool(self._gone)
                if trio.current_time() >= reread_at:
                    if not self._rereading:
                        self._rereading = True
                        self.nursery.start_soon(self._reread_target)
                    reread_at = trio.current_time() + delay(*_REREAD, readings)
                    readings += 1
            with trio.move_on_at(reread_at):
                await self._signal.wait()

    async def _reread_target(self) -> None:
        """The target may have other pods by now, and no event reports that. Meanwhile the old target is used, however
        long a credential plugin takes."""
        try:
            await self._read_target()
        except ForwardError as trouble:
            self._gone = trouble.problem.message if trouble.problem.cause in FINAL else ""
        finally:
            self._rereading = False
        self._signal.tell()

    def none_ready(self, reason: str) -> Problem:
        context, namespace = self.place
        see = command("kubectl", Cluster(self._settings.cluster.kubeconfig, context), f"--namespace={namespace}")
        message = f"{self._settings.target} has no ready pod: {reason}"
        return Problem(Cause.NO_READY_POD, message, f"See: {shlex.join(see)} describe pods")

    async def _ask(self, path: str) -> Any:
        """Return the object at an API path. Raises ForwardError, which may be about a missing namespace."""
        assert self._watch is not None
        namespace = self._watch.namespace
        try:
            return await self._watch.questions.ask(path)
        except ForwardError as trouble:
            problem = trouble.problem
        if problem.cause is Cause.NO_SUCH_OBJECT:
            try:
                await self._watch.questions.ask(f"/api/v1/namespaces/{namespace}")
            except ForwardError as trouble:
                if trouble.problem.cause is Cause.NO_SUCH_NAMESPACE:
                    raise
        raise ForwardError(
            replace(problem, message=problem.message.replace("in the namespace", f"in namespace {namespace}"))
        )

    def _hear(self, pod: Pod | None) -> None:
        if pod is None or self._where is None or concerns(self._where, self._family, pod):
            self._changed()

    def moved_on(self) -> bool:
        """Whether the watch shows that the pod in use is no longer the one to use."""
        watch, pod = self._watch, self.pod
        if watch is None or watch.denied or watch.problem or self._where is None or pod is None:
            return False
        choice = choose(self._where, watch.pods, pod, self._family)
        return choice.pod is None or choice.pod.incarnation != pod.incarnation

    def why_left(self, pod: Pod) -> str:
        now = next((each for each in self._watch.pods if each.uid == pod.uid), None) if self._watch else None
        if now is None:
            return "was deleted"
        if now.terminating:
            return "is terminating"
        return "restarted" if now.restarts != pod.restarts else "is not ready"

    def lingers(self, pod: Pod | None) -> bool:
        """Whether the pod's processes still run, even if it is no longer chosen."""
        return (
            pod is not None and self._watch is not None and pod.incarnation in {p.incarnation for p in self._watch.pods}
        )

    def is_gone(self, pod: Pod | None) -> bool:
        return pod is not None and self._watch is not None and all(each.uid != pod.uid for each in self._watch.pods)

    def usable(self) -> set[tuple[str, int]]:
        """The incarnations that could be chosen: all in the namespace until the target is known."""
        if self._watch is None:
            return set()
        where, family = self._where, self._family
        return {
            pod.incarnation
            for pod in self._watch.pods
            if pod.usable and (where is None or concerns(where, family, pod))
        }

    @property
    def place(self) -> tuple[str | None, str | None]:
        """Context and namespace, as far as they are known."""
        if self._watch is None:
            return self._settings.cluster.context, self._settings.namespace
        return self._watch.cluster.context, self._watch.namespace

    @property
    def knows_target(self) -> bool:
        return self._where is not None

    @property
    def renewed(self) -> int:
        """Increases when connections to the API server were found dead."""
        return self._watch.renewed if self._watch else 0

    @property
    def why_renewed(self) -> str:
        return self._watch.why if self._watch else ""

    async def is_outage(self) -> bool:
        """Whether the API server does not answer, as a kubectl reported. The watch checks this for all forwards."""
        watch = self._watch
        if watch is None or watch.denied:
            return False
        listed = watch.listed
        if watch.problem is None:
            watch.check()
            await self._signal.until(lambda: watch.problem is not None or watch.listed != listed or watch.denied)
        return self.outage

    @property
    def outage(self) -> bool:
        """Whether the pods can't be listed now. The watch retries this for all forwards."""
        return self._watch is not None and self._watch.problem is not None and self._watch.problem.cause not in FINAL

    @property
    def listed(self) -> int:
        """Increases when the API server has answered (again)."""
        return self._watch.listed if self._watch else 0
