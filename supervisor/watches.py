"""The watches of all forwards: one for each (cluster, namespace), begun when the first forward asks for it."""

from __future__ import annotations

from collections.abc import Callable

import trio

from .contexts import Contexts
from .keeper import Keeper
from .model import Cluster
from .outage import Outage
from .watch import DIED, Watch


class Watches:
    """Hands out Watches; they run in `nursery`."""

    def __init__(
        self, contexts: Contexts, keeper: Keeper, nursery: trio.Nursery, notice: Callable[[str], None]
    ) -> None:
        self._contexts = contexts
        self._keeper = keeper
        self._nursery = nursery
        self._notice = notice
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
        if self._contexts.version is None:
            self._nursery.start_soon(self._contexts.check_version)
        resolved, own = await self._contexts.of(cluster)
        key = (resolved, namespace or own)
        if key not in self._watches:
            outage = self._outages.setdefault(resolved, Outage(resolved.context or "the cluster", self._notice))
            self._watches[key] = Watch(self._contexts.binary, *key, self._keeper, self._notice, outage)
            self._nursery.start_soon(self._watches[key].run)
        return self._watches[key]
