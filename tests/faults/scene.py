"""Where a fault is played: a forward without clients, one with an open connection, one with new clients."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import trio

from kpf_supervise.sandbox import Cluster
from tests.program import Instance

ALL = ("idle", "open", "new")
GET = b"GET / HTTP/1.1\r\nHost: sandbox\r\n\r\n"


class New(StrEnum):
    """What becomes of connections that come meanwhile."""

    SERVED = "served"
    HELD = "held, then served"
    UNDER_WAY = "held, then served; what was under way breaks"


class Open(StrEnum):
    """What becomes of a connection that was open."""

    STAYS = "goes on"
    ENDS = "ends with it"
    WAITS = "waits for the one that reads nothing"
    HANGS = "is ended after 30 s"  # shown in test_e2e_crew


@dataclass
class Scene:
    """What a fault may touch. `pod` is the one in use, `ports` are the local ones."""

    cluster: Cluster
    instance: Instance
    pod: str
    ports: dict[str, int]
    over: float | None = None  # since when the fault can break nothing any more, where it does so after it was told

    async def told(self, event: str, text: str, *forwards: str) -> None:
        """Until each of these forwards (none: somebody) was told so."""

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
    """Of the kept connection: what it gives to one more request, b"" where it has ended."""
    try:
        await stream.send_all(GET)
        with trio.fail_after(10):
            return bytes(await stream.receive_some())
    except trio.BrokenResourceError:
        return b""
