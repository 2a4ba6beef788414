"""The watches of all forwards: one for each (cluster, namespace), begun when the first forward asks for it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import trio

from .keeper import Keeper
from .kubectl import OLDEST, command
from .model import Cause, Cluster, Problem, Trouble
from .outage import Outage
from .process import output
from .proxy import proxy_of
from .watch import DIED, TIMEOUT, Watch


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

    def doubt(self, why: str = DIED) -> None:
        """Have every kubectl replaced; without a better `why`, since all connections to API servers may have died."""
        for watch in self._watches.values():
            watch.doubt(why)

    def ask_again(self) -> None:
        """Ask all that did not answer, or forbade something: the user has changed something, or wants to try again."""
        for outage in self._outages.values():
            outage.ask_again()
        for watch in self._watches.values():
            watch.ask_again()

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
        config = await self._ask(command(self._binary, cluster, "config", "view", "-o", "json"), cluster)
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
        context = contexts[name] if name is not None else {}
        clusters = {each["name"]: each.get("cluster") or {} for each in config.get("clusters") or []}
        way = clusters.get(context.get("cluster")) or {}
        proxy = proxy_of(way.get("server") or "", way.get("proxy-url"), os.environ)
        return Cluster(cluster.kubeconfig, name, proxy), context.get("namespace") or "default"

    async def _check_version(self) -> None:
        """Say so once if kubectl is too old. What it then can't do is each forward's own trouble."""
        try:
            answer = await self._ask([self._binary, "version", "--client", "-o", "json"], Cluster())
            text = answer["clientVersion"]["gitVersion"]
            major, minor = text.lstrip("v").split(".")[:2]
            self.version = (int(major), int(minor))
        except (Trouble, LookupError, TypeError, ValueError):
            return  # whoever needs it will say so
        if self.version < OLDEST:
            oldest = f"{OLDEST[0]}.{OLDEST[1]}"
            self._notice(
                f"{self._binary} is kubectl {text}, and {oldest} is the oldest that is known to work. Install a "
                "newer one, or name its path under kubectl: in the configuration"
            )

    async def _ask(self, words: list[str], cluster: Cluster) -> Any:
        answer = await output(words, self._keeper, TIMEOUT, cluster)
        try:
            return json.loads(answer)
        except ValueError:
            raise Trouble(
                Problem(Cause.KUBECTL, f"{self._binary} does not answer as kubectl does", "Name the path of a kubectl")
            ) from None
