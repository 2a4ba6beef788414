"""What the kubeconfigs say of the clusters that are named, and which kubectl it is that reads them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from .keeper import Keeper
from .kubectl import OLDEST, command
from .model import Cause, Cluster, Problem, Trouble
from .process import output
from .proxy import proxy_of
from .shared import Shared

_TIMEOUT = 15.0  # seconds; no server is asked


class Contexts:
    """As the kubectl `binary` reads them."""

    def __init__(self, binary: str, keeper: Keeper, notice: Callable[[str], None]) -> None:
        self.binary = binary
        self.version: tuple[int, int] | None = None  # of kubectl; None until it has said so
        self._keeper = keeper
        self._notice = notice
        self._known: dict[Cluster, tuple[Cluster, str]] = {}
        self._answers: Shared[tuple[str, ...], Any] = Shared()

    async def of(self, cluster: Cluster) -> tuple[Cluster, str]:
        """The cluster with its context named, so that a later `kubectl config use-context` in another terminal moves
        no forward; and the context's namespace. Raises Trouble where there is no such context, or kubectl can't be
        run."""
        if cluster not in self._known:
            view = await self._ask(Cluster(cluster.kubeconfig), "config", "view", "-o", "json")
            self._known[cluster] = _resolve(cluster, view)
        return self._known[cluster]

    async def check_version(self) -> None:
        """Say so if kubectl is too old. What it then can't do is each forward's own trouble."""
        try:
            answer = await self._ask(Cluster(), "version", "--client", "-o", "json")
            text = answer["clientVersion"]["gitVersion"]
            major, minor = map(int, text.lstrip("v").split(".")[:2])
        except (Trouble, LookupError, TypeError, ValueError):
            return  # whoever needs it will say so
        first, self.version = self.version is None, (major, minor)
        if first and self.version < OLDEST:
            oldest = f"{OLDEST[0]}.{OLDEST[1]}"
            self._notice(
                f"{self.binary} is kubectl {text}, and {oldest} is the oldest that is known to work. Install a "
                "newer one, or name its path under kubectl: in the configuration"
            )

    async def _ask(self, cluster: Cluster, *words: str) -> Any:
        line = command(self.binary, cluster, *words)
        return await self._answers.ask(tuple(line), partial(self._answer, line, cluster))

    async def _answer(self, line: list[str], cluster: Cluster) -> Any:
        try:
            return json.loads(await output(line, self._keeper, _TIMEOUT, cluster))
        except ValueError:
            raise Trouble(
                Problem(Cause.KUBECTL, f"{self.binary} does not answer as kubectl does", "Name the path of a kubectl")
            ) from None


def _resolve(cluster: Cluster, view: Any) -> tuple[Cluster, str]:
    """Raises Trouble."""
    name = cluster.context or view.get("current-context") or None
    contexts = {each["name"]: each.get("context") or {} for each in view.get("contexts") or []}
    if name is not None and name not in contexts:
        known = ", ".join(sorted(contexts))
        raise Trouble(
            Problem(
                Cause.NO_SUCH_CONTEXT,
                f"the kubeconfig has no context {name}",
                f"It has: {known}" if known else "It has none at all; see: kubectl config view",
            )
        )
    context = contexts[name] if name is not None else {}
    clusters = {each["name"]: each.get("cluster") or {} for each in view.get("clusters") or []}
    way = clusters.get(context.get("cluster")) or {}
    proxy = proxy_of(way.get("server") or "", way.get("proxy-url"), os.environ)
    return Cluster(cluster.kubeconfig, name, proxy), context.get("namespace") or "default"
