"""Which of an instance's forwards listens on which local port, and which ports have become free. Pure."""

from __future__ import annotations

from kpf_supervise.forwarding.listener import overlap
from kpf_supervise.model import Forward

_MOMENT = 2.0  # seconds


class LocalPorts:
    def __init__(self) -> None:
        self._holders: dict[int, dict[str, str]] = {}  # by port: the address of each forward
        self._freed: list[tuple[int, str]] = []  # since the last `forget_freed`
        self._released: dict[int, float] = {}  # when, in seconds

    def hold(self, forward: Forward, port: int) -> None:
        if not forward.proxied:  # it has none of its own
            self._holders.setdefault(port, {})[forward.id] = forward.address

    def release(self, forward: Forward, port: int, now: float) -> None:
        if self._holders.get(port, {}).pop(forward.id, None) is not None:
            self._freed.append((port, forward.address))
            self._released[port] = now

    def passing(self, forward: Forward, now: float) -> bool:
        """Whether its local port may still be taken for a moment: a process that was being started when we released it
        has our sockets until its exec."""
        return now - self._released.get(forward.local or 0, -_MOMENT) < _MOMENT

    def holder(self, forward: Forward) -> str:
        """The id of the forward that listens where this one should; "" if none does."""
        if forward.local is None or forward.proxied:
            return ""
        held = self._holders.get(forward.local, {})
        return next((id for id, address in held.items() if overlap(address, forward.address)), "")

    def became_free(self, forward: Forward) -> bool:
        """Whether its local port was released since the last `forget_freed`, and is still free."""
        freed = any(port == forward.local and overlap(address, forward.address) for port, address in self._freed)
        return freed and not self.holder(forward)

    def forget_freed(self) -> None:
        self._freed = []
