"""What the user has stopped, of forwards that are not listed now: a service may come back, or be listed later. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from kpf_supervise.config.options import written
from kpf_supervise.model import Forward
from kpf_supervise.origin import SOURCES, Origin


class StoppedEarlier:
    """`saved` is from the state file: by id the options then, and who listed it. `plain` gives a forward as the file
    describes it."""

    def __init__(
        self, saved: Mapping[str, Mapping[str, Any]] | None = None, plain: Callable[[Forward], Forward] = lambda it: it
    ) -> None:
        self._options = dict(saved or {})
        self._plain = plain

    def recalls(self, forward: Forward, origin: Origin) -> bool:
        """Whether the user has stopped this forward, and its options have not changed since. Asked when it is listed:
        from then on its status tells."""
        then = self._options.pop(forward.id, None) if origin is not Origin.KPFCTL else None
        now = written(self._plain(forward))
        return then is not None and all(now[key] == value for key, value in then.items() if key in now)

    def keep(self, forward: Forward, origin: Origin) -> None:
        """It is no longer listed. One that leaves the file is forgotten: whoever writes it again wants it."""
        if origin in SOURCES:
            self._options[forward.id] = self.described(forward, origin)

    def keep_of(self, origins: Collection[Origin]) -> None:
        """Forget all but what these may list again."""
        self._options = {id: each for id, each in self._options.items() if each.get("origin") in origins}

    def described(self, forward: Forward, origin: Origin) -> dict[str, Any]:
        more = {} if origin is Origin.FILE else {"origin": origin.value}
        return written(self._plain(forward)) | more

    @property
    def all(self) -> Mapping[str, Mapping[str, Any]]:
        return self._options
