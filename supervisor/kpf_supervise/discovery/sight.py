"""What is known of one forward's target and its pods at one moment. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from kpf_supervise.discovery.choice import Choice, Destination, choose, concerns, ready
from kpf_supervise.kubectl.command_line import command
from kpf_supervise.model import FINAL, Cause, Cluster, Problem, Target
from kpf_supervise.watching.objects import ObjectSet
from kpf_supervise.watching.pods import Pod, PodSet


class Left(StrEnum):
    """Why a pod is left."""

    DELETED = "was deleted"
    TERMINATING = "is terminating"
    RESTARTED = "restarted"
    NOT_READY = "is not ready"

    @property
    def word(self) -> str:
        """For programs."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Departure:
    """From a pod."""

    pod: str
    why: Left

    def __str__(self) -> str:
        return f"{self.pod} {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """`pods` is current to within a moment while `fresh`."""

    target: Target
    cluster: Cluster = field(default_factory=Cluster)
    namespace: str | None = None
    # the target
    where: Destination | None = None  # as it was read last
    stale: bool = False  # it may have changed since, and has to be read again
    looks: int = 0  # look-ups that have ended
    looking: bool = False
    failure: Problem | None = None  # of the last look-up
    gone: str = ""  # why the target was not found when it was read again in the background
    # the watch of its namespace
    watched: bool = False  # it is known
    signs_in: bool = False  # kubectl itself runs a program for its credentials, which may open a window
    signing_in: str = ""  # that a sign-in runs: with what, and since when
    signing_in_since: float | None = None  # the same in trio's time
    no_login: Problem | None = None  # why the last sign-in failed
    pods: ObjectSet[Pod] = field(default_factory=PodSet)
    listed: int = 0  # increases when the API server has answered (again)
    denied: bool = False  # watching is forbidden
    blind: bool = False  # listing is forbidden too
    problem: Problem | None = None  # the pods can't be listed now
    cut_off: bool = False  # nothing comes from the API server: tunnels may be dead
    renewed: int = 0  # increases when connections to the API server were found dead
    why_renewed: str = ""

    @property
    def fresh(self) -> bool:
        return self.where is not None and self.listed > 0 and not self.denied and self.problem is None

    @property
    def outage(self) -> bool:
        """Whether the pods can't be listed now. The watch retries this for all forwards."""
        return self.cut_off or (self.problem is not None and self.problem.cause not in FINAL)

    def choose(self, current: Pod | None, family: tuple[str, str] | None) -> Choice:
        assert self.where is not None
        return choose(self.where, self.pods, current, family)

    def ready(self, current: Pod | None, family: tuple[str, str] | None) -> Sequence[Pod]:
        """The pods that connections may be spread over, the preferred ones first."""
        return ready(self.where, self.pods, current, family) if self.where is not None else []

    def why_left(self, pod: Pod) -> Left:
        now = self.pods.named(pod.name)
        if now is None or now.uid != pod.uid:
            return Left.DELETED
        if now.terminating:
            return Left.TERMINATING
        return Left.RESTARTED if now.restarts != pod.restarts else Left.NOT_READY

    def lingers(self, pod: Pod | None) -> bool:
        """Whether the pod's processes still run, even if it is no longer chosen."""
        now = self.pods.named(pod.name) if pod is not None else None
        return now is not None and pod is not None and now.incarnation == pod.incarnation

    def is_gone(self, pod: Pod | None) -> bool:
        now = self.pods.named(pod.name) if pod is not None else None
        return self.watched and pod is not None and (now is None or now.uid != pod.uid)

    def usable(self, family: tuple[str, str] | None) -> frozenset[tuple[str, int]]:
        """The incarnations that could be chosen: all in the namespace until the target is known."""
        return frozenset(
            pod.incarnation
            for pod in self.pods
            if pod.usable and (self.where is None or concerns(self.where, family, pod))
        )

    def none_ready(self, reason: str) -> Problem:
        see = command("kubectl", self.cluster, f"--namespace={self.namespace}")
        message = f"{self.target} has no ready pod: {reason}"
        return Problem(Cause.NO_READY_POD, message, f"See: {shlex.join(see)} describe pods")
