"""Clients that send requests continuously, and their results."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tests.program import get


class Load:
    """Clients that each open a new connection every 50 ms, and their results."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self.port = port
        self.clients = clients
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._news = trio.Event()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(self.clients):
                nursery.start_soon(self._client, number * 0.05 / self.clients)

    async def _client(self, offset: float) -> None:
        await trio.sleep(offset)
        while True:
            begun = trio.current_time()
            try:
                answer = (await get(self.port)).decode().strip()
            except OSError as error:
                answer, reason = "", repr(error)
            else:
                reason = "ended without an answer"
            if answer:
                self.answers.append(answer)
            else:
                self.failures.append(f"{reason} after {trio.current_time() - begun:.3f} s")
            self._news.set()
            self._news = trio.Event()
            await trio.sleep(max(0.0, begun + 0.05 - trio.current_time()))

    async def until(self, true: Callable[[], bool]) -> None:
        with trio.fail_after(30):
            while not true():
                await self._news.wait()

    async def more(self, count: int) -> None:
        """Wait until `count` more answers have come."""
        wanted = len(self.answers) + count
        await self.until(lambda: len(self.answers) >= wanted)
