"""The watches of all forwards: one for each (cluster, namespace), begun when the first forward asks for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import trio

from .keeper import Keeper
from .kubectl import OLDEST, command
from .model import Cause, Cluster, Problem, Trouble
from .outage import Outage
from .process import output
from .watch import TIMEOUT, Watch


class Watches:
    """Hands out Watches; they run in `nursery`."""

    def __init__(self, binary: str, keeper: Keeper, nursery: trio.Nursery, notice: Callable[[str], None]) -> None:
        self._binary = binary
        self._keeper = keeper
        self._nursery = nursery
        self._notice = notice
        self.version: tuple[int, int] | None = None  # of kubectl; None until it has said so
        self._asking = trio.Lock()
        self._contexts: dict[Cluster, tuple[Cluster, str]] = {}
        self._outages: dict[Cluster, Outage] = {}
        self._watches: dict[tuple[Cluster, str], Watch] = {}

    def doubt(self) -> None:
        """Take it that all connections to API servers have died."""
        for watch in self._watches.values():
            watch.doubt()

    async def of(self, cluster: Cluster, namespace: str | None) -> Watch:
        """The watch of a namespace, None being the context's own. Raises Trouble where there is no such context, or
        kubectl can't be run."""
        async with self._asking:
            if cluster not in self._contexts:
                self._contexts[cluster] = await self._resolve(cluster)
        resolved, own = self._contexts[cluster]
        key = (resolved, namespace or own)
        if key not in self._watches:
            outage = self._outages.setdefault(resolved, Outage(resolved.context or "the cluster", self._notice))
            self._watches[key] = Watch(self._binary, *key, self._keeper, self._notice, outage)
            self._nursery.start_soon(self._watches[key].run)
        return self._watches[key]

    async def _resolve(self, cluster: Cluster) -> tuple[Cluster, str]:
        """The cluster with its context named, so that a later `kubectl config use-context` in another terminal moves
        no forward; and the context's namespace."""
        if not self._contexts:
            self._nursery.start_soon(self._check_version)
        config = await self._ask(command(self._binary, cluster, "config", "view", "-o", "json"))
        name = cluster.context or config.get("current-context") or None
        contexts = {each["name"]: each.get("context") or {} for each in config.get("contexts") or []}
        if name is not None and name not in contexts:
            known = ", ".join(sorted(contexts))
            raise Trouble(
                Problem(
                    Cause.NO_SUCH_CONTEXT,
                    f"the kubeconfig has no context {name}",
                    f"It has: {known}" if known else "It has none at all; see: kubectl config view",
                )
            )
        namespace = contexts[name].get("namespace") if name is not None else None
        return Cluster(cluster.kubeconfig, name), namespace or "default"

    async def _check_version(self) -> None:
        """Say so once if kubectl is too old. What it then can't do is each forward's own trouble."""
        try:
            answer = await self._ask([self._binary, "version", "--client", "-o", "json"])
        except Trouble:
            return  # whoever needs it will say so
        text = answer["clientVersion"]["gitVersion"]
        major, minor = text.lstrip("v").split(".")[:2]
        self.version = (int(major), int(minor))
        if self.version < OLDEST:
            self._notice(f"{self._binary} is {text}; nothing older than {OLDEST[0]}.{OLDEST[1]} is known to work")

    async def _ask(self, words: list[str]) -> Any:
        return json.loads(await output(words, self._keeper, TIMEOUT))
