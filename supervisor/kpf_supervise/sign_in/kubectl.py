"""What one kubectl needs to get its credential, and what it tells about it."""

from __future__ import annotations

from collections.abc import Mapping

from kpf_supervise.model import Cause, Cluster, Problem
from kpf_supervise.sign_in.server import Client


class Kubectl:
    """One kubectl around its life: `cluster` is for its command line, `environment` what is added to its own."""

    def __init__(
        self,
        cluster: Cluster,
        environment: Mapping[str, str] | None = None,
        client: Client | None = None,
        signs_in: bool = False,
    ) -> None:
        self.cluster = cluster
        self.environment = environment or {}
        self.signs_in = signs_in  # it runs a program for its credential itself
        self._client = client

    def accepted(self) -> None:
        """The API server has answered it, and not with 401."""
        if self._client is not None and self._client.given is not None:
            self._client.share.accept(self._client.given.generation)

    def refused(self) -> None:
        """The API server has answered it with 401."""
        if self._client is not None and self._client.given is not None:
            self._client.share.refuse(self._client.given.generation)

    def renewed(self, begun: float) -> bool:
        """Whether its credential was refused since then, and it has got another one."""
        return self._client is not None and self._client.refused_at >= begun

    def reword(self, problem: Problem) -> Problem:
        """Why it failed, if the cause is the sign-in, of which it knows nothing."""
        if self._client is None:
            return problem
        if problem.cause in (Cause.CREDENTIALS, Cause.UNAUTHORIZED) and self._client.share.problem is not None:
            return self._client.share.problem
        if problem.cause is Cause.UNAUTHORIZED and self.renewed(0):
            return Problem(Cause.OTHER, "the API server refused the credential, and there is a new one now")
        return problem
