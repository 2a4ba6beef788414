"""The setup for a fault: a forward without clients, one with an open connection, one with new clients."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

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
    """What a fault may change. `ports` are the local ports; `pod` is the pod in use."""

    cluster: Cluster
    instance: Instance
    ports: dict[str, int]
    pod: str = ""
    begun: int = 0  # events before the fault
    over: float | None = None  # when the fault stops breaking things, if it goes on after being reported

    async def begin(self) -> str:
        """Wait until all is well, whatever happened before, and return the pod in use."""
        self.pod = await self.on_one_pod()
        self.begun = len(self.instance.events)
        return self.pod

    @property
    def events(self) -> list[dict[str, Any]]:
        """Since the fault began."""
        return self.instance.events[self.begun :]

    def kinds(self, forward: str) -> list[str]:
        return [each["event"] for each in self.events if each.get("forward") == forward]

    async def told(self, event: str, text: str, *forwards: str) -> None:
        """Wait until each of these forwards (none: any source) has reported this event and text."""

        def heard(forward: str | None) -> bool:
            return any(
                each["event"] == event and text in each["message"] and forward in (None, each.get("forward"))
                for each in self.events
            )

        try:
            await self.instance.told(lambda: all(heard(forward) for forward in forwards or (None,)))
        except trio.TooSlowError:
            lines = "\n".join(map(str, self.events))
            raise AssertionError(f"nobody was told {event}: {text}. Told was:\n{lines}") from None

    def noticed(self) -> float:
        """When the forward with the new connections last had an event other than `active` or `moved`."""
        return max(
            datetime.fromisoformat(each["time"]).timestamp()
            for each in self.events
            if each.get("forward") == "new" and each["event"] not in ("active", "moved")
        )

    async def on_one_pod(self) -> str:
        """Wait until all forwards are well, on the same pod, and return its name."""

        def pods() -> set[str]:
            last = [[each for each in self.instance.events if each.get("forward") == name][-1] for name in self.ports]
            return {each["pod"] if each["event"] in ("active", "moved") else "" for each in last}

        await self.instance.told(lambda: len(pods()) == 1 and "" not in pods())
        return pods().pop()


async def answer(stream: trio.SocketStream) -> bytes:
    """The answer to one more request on the kept connection, or b"" if it has ended."""
    try:
        await stream.send_all(GET)
        with trio.fail_after(10):
            return bytes(await stream.receive_some())
    except trio.BrokenResourceError:
        return b""
