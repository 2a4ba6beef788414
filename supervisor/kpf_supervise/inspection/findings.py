"""What was found out about the forwards of a file, as plain values. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from kpf_supervise.model import Forward, Problem


@dataclass(slots=True, kw_only=True)
class CheckedCluster:
    """One cluster as one user sees it. What is None is not known."""

    context: str | None
    kubeconfig: Path | None
    user: str | None = None  # the kubeconfig's name for it
    plugin: str | None = None  # the credential plugin that has signed in, or could not
    server: str | None = None  # the API server's version
    problem: Problem | None = None  # why it can't be asked
    hints: list[Problem] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Checked:
    """A forward, `each` forward, group of services or the proxy. What is None is not known, or has no meaning there."""

    id: str
    kind: str  # forward, each, services or proxy
    enabled: bool = True  # if not, it is not asked about
    context: str | None = None
    namespace: str | None = None
    target: str | None = None
    remote: int | str | None = None  # as it is declared
    pod_port: int | None = None
    pods: int | None = None
    ready: int | None = None  # of the pods
    services: int | None = None  # that can be forwarded
    address: str = "localhost"
    local: int | None = None  # None: any free port, or several
    free: bool | None = None  # the local ports
    running: bool = False  # an instance of this file has them
    rights: dict[str, bool] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)  # why it would not work
    hints: list[Problem] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)  # that listen on local ports

    @property
    def ok(self) -> bool:
        return not self.problems


@dataclass(slots=True, kw_only=True)
class Report:
    config: str
    kubectl: str  # its path
    version: str | None = None  # of kubectl
    hints: list[Problem] = field(default_factory=list)
    clusters: list[CheckedCluster] = field(default_factory=list)
    found: list[Checked] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all would work."""
        return all(each.ok for each in self.found)
