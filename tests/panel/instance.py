"""A pretended instance, and the panel that shows it, driven by Textual's pilot."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

from textual.pilot import Pilot

from kpf_supervise.control.client import Refused
from kpf_supervise.events.serialize import port_forward
from kpf_supervise.model import TEMPLATE, State, Status
from kpf_supervise.panel.program import Panel
from kpf_supervise.panel_state.link import Lost

NOW = 1_700_000_000.0
TIME = "2023-11-14T22:13:20Z"
PATIENCE = 10.0  # seconds for something to be shown


def forward(id: str, state: State = State.ACTIVE, **more: Any) -> dict[str, Any]:
    """A forward as the control socket lists it."""
    listening = state is not State.STOPPED
    status = Status(forward=TEMPLATE, state=state, since=NOW - 60, port=8080 if listening else None)
    name = id.partition("/")[0]
    facts = {"id": id, "target": f"service/{name}", "resourceType": "service", "name": name, "remote": "80"}
    return port_forward(status) | facts | {"context": "kind", "namespace": "shop"} | more


def event(id: str | None, kind: str, message: str, **more: Any) -> dict[str, Any]:
    return {"time": TIME, "forward": id, "event": kind, "message": message} | more


class Instance:
    """Answers calls from `answers`, and keeps them in `calls`."""

    def __init__(self, *forwards: dict[str, Any]) -> None:
        self.heard: Callable[[str, dict[str, Any]], None] = lambda _, __: None
        self.forwards = {each["id"]: each for each in forwards}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refused = ""  # if set, every change is refused with this
        self.answers: dict[str, Any] = {
            "info": {"pid": 1, "version": "0", "config": "/tmp/shop.yaml", "mistakes": []},
            "events": [],
            "logs": [],
            "describe": {"settings": {}, "own": [], "connections": []},
            "contexts": [{"name": "kind", "namespace": "shop", "current": True}],
            "namespaces": ["default", "shop"],
            "targets": [{"target": "service/web", "ports": [{"port": 80, "name": "http"}]}],
        }
        self.ended = asyncio.Event()

    async def connect(self) -> None:
        if self.ended.is_set():
            raise ConnectionRefusedError(111, "Connection refused")

    async def listen(self) -> None:
        await self.ended.wait()

    async def call(self, method: str, **params: Any) -> Any:
        if self.ended.is_set():
            raise Lost("the instance has ended")
        if method in ("portforward:list", "subscribe"):
            return copy.deepcopy(list(self.forwards.values()))
        if method in self.answers:
            answer = self.answers[method]
            if isinstance(answer, Exception):
                raise answer
            return copy.deepcopy(answer(**params) if callable(answer) else answer)
        self.calls.append((method, {name: value for name, value in params.items() if value is not None}))
        if self.refused:
            raise Refused(self.refused)
        return params.get("id") or params.get("name")

    def tell(self, id: str | None, kind: str, message: str, **more: Any) -> None:
        """Send an event."""
        facts = event(id, kind, message, **more)
        self.heard("event", facts | {"portForward": copy.deepcopy(self.forwards.get(id or ""))})

    def count(self, *ids: str) -> None:
        """Tell that a second has passed, and the forwards whose counters have changed."""
        self.heard("counters", {"seconds": 1.0, "portForwards": [copy.deepcopy(self.forwards[id]) for id in ids]})


class Screen:
    """The panel as one sees it."""

    def __init__(self, panel: Panel, pilot: Pilot[Any]) -> None:
        self.panel, self.pilot = panel, pilot

    @property
    def lines(self) -> list[str]:
        return ["".join(segment.text for segment in line) for line in self.panel.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def row(self, name: str) -> str:
        return next((line for line in self.lines if name in line.split()), "")

    def rows(self) -> list[str]:
        """The first words of the rows of the table."""
        return [row.title for row in self.panel.table._rows]

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def click(self, text: str) -> None:
        """Click on the first place where this text stands, once it is there."""
        await self.shows(text)
        row = next(number for number, line in enumerate(self.lines) if text in line)
        await self.pilot.click(offset=(self.lines[row].index(text), row))
        await self.pilot.pause()

    async def shows(self, true: Callable[[str], bool] | str) -> str:
        """Wait until the screen contains the text, or `true` accepts it."""
        return await self.until(lambda: true in self.text if isinstance(true, str) else true(self.text))

    async def until(self, true: Callable[[], bool]) -> str:
        try:
            async with asyncio.timeout(PATIENCE):
                while not true():
                    await self.pilot.pause(0.01)  # Textual reports no redraw
        except TimeoutError:
            raise AssertionError(f"waited in vain; the screen shows:\n{self.text}") from None
        return self.text


@asynccontextmanager
async def showing(instance: Instance, own: bool = True, size: tuple[int, int] = (120, 30)) -> AsyncIterator[Screen]:
    panel = Panel(instance, own)
    panel.told_for = (60.0, 60.0)  # a busy machine may look late
    async with panel.run_test(size=size, notifications=True) as pilot:
        screen = Screen(panel, pilot)
        await screen.until(lambda: panel.view.forwards.keys() == instance.forwards.keys())
        await screen.until(lambda: "kpf-su" in screen.text and not panel.waiting)
        yield screen


def played(story: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test with asyncio: the other tests run with trio."""

    @wraps(story)
    def test(*arguments: Any, **fixtures: Any) -> None:
        async def run() -> None:
            await story(*arguments, **fixtures)

        asyncio.run(run())

    return test
