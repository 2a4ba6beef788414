"""What an instance should forward: the file with its edits, and what the user has changed with kpfctl."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import trio

from kpf_supervise.config.contents import Config, Proxy, proxied
from kpf_supervise.events.board import Board
from kpf_supervise.instance.state_file import SavedState, restore, save
from kpf_supervise.instance.stopped import StoppedEarlier
from kpf_supervise.instance.supervisor import Supervisor
from kpf_supervise.loading.watcher import FileWatcher
from kpf_supervise.model import Cluster, Forward
from kpf_supervise.origin import SOURCES, Origin
from kpf_supervise.runtime.paths import name_of, state_folder
from kpf_supervise.sources.sources import Sources


class DesiredState:
    """The forwards of the file, and what the user has started and stopped."""

    def __init__(
        self,
        config: Config,
        path: Path | None,
        persist: bool,
        cluster: Cluster | None,
        supervisor: Supervisor,
        sources: Sources,
        board: Board,
        proxy: tuple[str, int] | None = None,
        metrics: tuple[str, int] | None = None,
        groups: Sequence[str] = (),
    ) -> None:
        self.path = path
        self._groups = groups  # only these are started; of later versions of the file, too
        self._said = config
        self._config = config.only(groups)
        self._cluster = cluster  # replaces the cluster of every forward
        self._listen = proxy  # address and port of the proxy, from the command line
        self._metrics = metrics  # address and port of the metrics, from the command line
        self.applied: list[Callable[[], Awaitable[object]]] = []  # called after each edit
        self._supervisor = supervisor
        self._sources = sources
        self._board = board
        self._edits = FileWatcher(path, config.mark, board.notice) if path else None
        self._state = state_folder() / f"{name_of(path, config.forwards)}.json" if persist else None

    @property
    def mistakes(self) -> list[str]:
        """What is wrong in the file as it was read last; nothing of that version is applied."""
        return self._edits.mistakes if self._edits else []

    async def begin(self) -> None:
        saved = restore(self._state, self._board.notice) if self._state else SavedState()
        self._supervisor.stopped_earlier = StoppedEarlier(saved.stopped, self._unplaced)
        await self._supervisor.apply(
            {Origin.FILE: self._placed(self._config.forwards), Origin.KPFCTL: self._placed(saved.started)}
        )
        self._supervisor.stopped_earlier.keep_of(SOURCES)
        self._follow_sources()

    async def follow(self) -> None:
        """Apply each edit of the file. Never returns by itself."""
        if self._edits is None:
            await trio.sleep_forever()
        else:
            async with aclosing(self._edits.follow()) as versions:
                async for config in versions:
                    await self._apply(config)

    async def reload(self) -> None:
        """Apply the file as it is now. Raises ConfigError."""
        if self._edits is not None:
            await self._apply(await self._edits.read())

    async def _apply(self, config: Config) -> None:
        if self.path is not None:
            same = "is unchanged: all settings are as they were"
            what = same if config == self._said else "has changed, and is applied"
            self._board.notice(f"{self.path.name} {what}")
            for group in (each for each in self._groups if each not in config.groups):
                self._board.notice(f"no forward of {self.path.name} is in the group {group}")
        self._said, self._config = config, config.only(self._groups)
        await self._supervisor.apply({Origin.FILE: self._placed(self._config.forwards)})
        self._follow_sources()
        for follow in self.applied:
            await follow()
        self.save()

    @property
    def proxy(self) -> Proxy | None:
        """As the file, or the command line instead, says."""
        said, listen = self._config.proxy, self._listen
        if said is None and listen is not None:
            said = Proxy(port=listen[1], template=proxied(self._config.template))
        if said is None:
            return None
        address, port = listen or (said.address, said.port)
        return replace(said, address=address, port=port, template=self._placed([said.template])[0])

    @property
    def metrics(self) -> tuple[str, int] | None:
        """Address and port, as the command line or the file says."""
        return self._metrics or self._config.metrics

    def template(self) -> Forward:
        """A forward with the defaults of the file."""
        return self._placed([self._config.template])[0]

    def save(self) -> None:
        """Save what the user has started and stopped, if that is enabled."""
        if self._state is not None:
            supervisor = self._supervisor
            earlier = supervisor.stopped_earlier
            stopped = {each.forward.id: earlier.described(each.forward, each.origin) for each in supervisor.stopped}
            try:
                save(self._state, map(self._unplaced, supervisor.started), {**earlier.all, **stopped})
            except OSError as error:
                self._board.notice(f"cannot save what was started and stopped: {error}")

    def _follow_sources(self) -> None:
        groups = self._config.services
        templates = self._placed(group.template for group in groups)
        services = (replace(group, template=each) for group, each in zip(groups, templates, strict=True))
        self._sources.want(self._placed(self._config.each), services)

    def _placed(self, forwards: Iterable[Forward]) -> list[Forward]:
        return [replace(each, cluster=self._cluster) if self._cluster else each for each in forwards]

    def _unplaced(self, forward: Forward) -> Forward:
        return replace(forward, cluster=Cluster()) if self._cluster else forward
