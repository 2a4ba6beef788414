"""Where one forward's pods are: its target, read once, and the shared watch of their namespace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kpf_supervise.api.errors import no_answer
from kpf_supervise.discovery.choice import Destination, concerns, destination, path_of
from kpf_supervise.discovery.sight import Sight
from kpf_supervise.kubectl.answers import Malformed
from kpf_supervise.model import FINAL, Cluster, Forward, ForwardError, Problem
from kpf_supervise.sign_in.login import Login
from kpf_supervise.watching.objects import ObjectSet
from kpf_supervise.watching.pods import PODS, Pod
from kpf_supervise.watching.watch import Watch
from kpf_supervise.watching.watches import Watches


class TargetResolver:
    """Reads the target, and follows its pods. `changed` is called when `sight` shows something else."""

    def __init__(self, settings: Forward, watches: Watches, changed: Callable[[], None]) -> None:
        self.family: tuple[str, str] | None = None  # the controller of a pod given by name; its pods concern us too
        self.looking = False  # `look` runs, or is about to
        self._settings = settings
        self._watches = watches
        self._changed = changed
        self._watch: Watch[Pod] | None = None
        self._unknown = Login(settings.cluster)
        self._where: Destination | None = None
        self._looks = 0
        self._failure: Problem | None = None
        self._gone = ""  # why the last reread of the target found nothing
        self._rereading = False

    def close(self) -> None:
        if self._watch is not None:
            self._watch.listeners.discard(self._hear)
            self.login.listeners.discard(self._changed)

    @property
    def login(self) -> Login:
        """Of the kubectls of this forward; known with the watch."""
        return self._watch.questions.api.login if self._watch is not None else self._unknown

    @property
    def place(self) -> tuple[Cluster, str | None]:
        """Cluster and namespace, as far as they are known."""
        if self._watch is None:
            return self._settings.cluster, self._settings.namespace
        return self._watch.cluster, self._watch.namespace

    @property
    def forbidden(self) -> Problem | None:
        """Why the pods can't be watched, if that is not allowed."""
        return self._watch.forbidden if self._watch is not None else None

    def sight(self) -> Sight:
        """What is known now."""
        watch = self._watch
        known = Sight(
            target=self._settings.target,
            cluster=Cluster(self._settings.cluster.kubeconfig, self.place[0].context),
            namespace=self.place[1],
            where=self._where,
            looks=self._looks,
            looking=self.looking,
            failure=self._failure,
            gone=self._gone,
            pods=_NO_PODS,
        )
        if watch is None:
            return known
        return replace(
            known,
            watched=True,
            signs_in=self.login.by_kubectl,
            signing_in=self.login.signing_in,
            signing_in_since=self.login.begun,
            no_login=self.login.problem,
            pods=watch.items,
            listed=watch.listed,
            denied=watch.denied,
            blind=watch.blind,
            problem=watch.problem,
            cut_off=watch.cut_off,
            renewed=watch.renewed,
            why_renewed=watch.why,
        )

    async def look(self, again: bool, pod: bool) -> None:
        """Find out what no event reports: the namespace's watch, the target, the pods where they are not watched, and
        with `pod` whether the pod given by name exists. `again`: the target may have changed since it was read."""
        try:
            if self._watch is None:
                self._watch = await self._watches.pods(self._settings.cluster, self._settings.namespace)
                self._watch.listeners.add(self._hear)
                self.login.listeners.add(self._changed)
                self._changed()
            if self._where is None or again:
                await self._read_target()
            if self._watch.denied and not self._watch.blind:
                await self._watch.refresh()
            if pod:
                await self._watch.questions.find(f"{self._watch.questions.pods_path}/{self._settings.target.name}")
            self._failure = None
        except ForwardError as trouble:
            self._failure = trouble.problem
        finally:
            self.looking = False
            self._looks += 1
        self._changed()

    async def reread(self) -> None:
        """The target may have other pods by now, and no event reports that. Meanwhile the old target is used, however
        long a credential plugin takes."""
        if self._rereading:
            return
        self._rereading = True
        try:
            await self._read_target()
        except ForwardError as trouble:
            self._gone = trouble.problem.message if trouble.problem.cause in FINAL else ""
        finally:
            self._rereading = False
        self._changed()

    def check_api(self) -> None:
        """Have the watch find out, for all forwards, whether the API server answers."""
        if self._watch is not None:
            self._watch.check()

    async def _read_target(self) -> None:
        assert self._watch is not None
        target = self._settings.target
        path = path_of(target, self._watch.namespace)
        data = await self._watch.questions.find(path) if path else None
        try:
            self._where = replace(destination(target, data), alone=self._settings.alone)
        except Malformed as error:
            raise ForwardError(no_answer(path or "", error)) from None
        self._gone = ""

    def _hear(self, pod: Pod | None) -> None:
        if pod is None or self._where is None or concerns(self._where, self.family, pod):
            self._changed()


_NO_PODS = ObjectSet(PODS)
