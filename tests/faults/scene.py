"""The setup for a fault: a forward without clients, one with an open connection, one with new clients."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import trio

from kpf_supervise.sandbox import Cluster
from tests.program import Instance

ALL = ("idle", "open", "new")
GET = b"GET / HTTP/1.1\r\nHost: sandbox\r\n\r\n"


class New(StrEnum):
    """What happens to connections made during the fault."""

    SERVED = "served"
    HELD = "held, then served"
    UNDER_WAY = "held, then served; what was under way breaks"


class Open(StrEnum):
    """What happens to a connection that was already open."""

    STAYS = "goes on"
    ENDS = "ends with it"
    WAITS = "waits for the one that reads nothing"
    HANGS = "is ended after 30 s"  # shown in tests/e2e/test_crew.py


@dataclass
class Scene:
    """What a fault may change. `pod` is the pod in use, `ports` are the local ports."""

    cluster: Cluster
    instance: Instance
    pod: str
    ports: dict[str, int]
    over: float | None = None  # when the fault stops breaking things, if it goes on after being reported

    async def told(self, event: str, text: str, *forwards: str) -> None:
        """Wait until each of these forwards (none: any source) has reported this event and text."""

        def heard(forward: str | None) -> bool:
            return any(
                each["event"] == event and text in each["message"] and forward in (None, each.get("forward"))
                for each in self.instance.events
            )

        try:
            await self.instance.told(lambda: all(heard(forward) for forward in forwards or (None,)))
        except trio.TooSlowError:
            lines = "\n".join(map(str, self.instance.events))
            raise AssertionError(f"nobody was told {event}: {text}. Told was:\n{lines}") from None


async def answer(stream: trio.SocketStream) -> bytes:
    """The answer to one more request on the kept connection, or b"" if it has ended."""
    try:
        await stream.send_all(GET)
        with trio.fail_after(10):
            return bytes(await stream.receive_some())
    except trio.BrokenResourceError:
        return b""
