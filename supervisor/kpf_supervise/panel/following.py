"""The panel's knowledge of the instance: connects, fetches and hears, and has it shown."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from typing import Any

from textual import work

from kpf_supervise.control.client import Refused
from kpf_supervise.events.summary import Digest
from kpf_supervise.panel.actions import Actions
from kpf_supervise.panel_state.ending import ENDED
from kpf_supervise.panel_state.link import Instance, Lost
from kpf_supervise.panel_state.state import Event, View
from kpf_supervise.panel_state.words import Pieces, details
from kpf_supervise.panel_widgets.screens import EventsPage, TextPage

_AGAIN = 1.0  # seconds between two reads of a forward's details, whose changes are not told
_PAUSE = 0.25  # seconds before a connection that was lost is made again
_FRAME = 0.01  # seconds in which changes are gathered before they are shown


class Following(Actions, inherit_bindings=False):
    """`trouble`: why there was nothing to show."""

    def __init__(self, link: Instance, own: bool, **more: Any) -> None:
        super().__init__(**more)
        self.view = View(own)
        self.trouble = ""
        self.link = link
        self.link.heard = self._heard
        self.waiting = False  # a drawing is due
        self._digest = Digest()
        self.page: TextPage | None = None  # the details of a forward
        self.page_of = ""
        self._described: dict[str, Any] = {}
        self._kept: list[Event] = []
        self._log_of = ""  # the forward whose log is shown

    @work
    async def follow(self) -> None:
        """Show the instance until it has ended. A connection that was lost is made again: while we are stopped, the
        instance drops it."""
        while True:
            try:
                await self.link.connect()
            except OSError as error:
                if not self.view.title:
                    self.trouble = str(error.strerror or error)
                self.exit(ENDED)
                return
            listening = asyncio.ensure_future(self.link.listen())
            try:
                with suppress(Lost):
                    await self._fetch()
                await listening
            except Refused as refused:
                self.trouble = f"the instance is of another version than this panel, start it again: {refused}"
                self.exit(ENDED)
                return
            finally:
                listening.cancel()
            await asyncio.sleep(_PAUSE)

    async def _fetch(self) -> None:
        """Fetch the current state and the past events; what changes from then on is heard. Raises Refused."""
        self.view.listed(await self.link.call("subscribe", counters=True))
        self.view.fetched(await self.link.call("events"))
        if isinstance(self.screen, EventsPage) and not self._log_of:
            self.screen.replace(self.view.events)
        await self._look_at_file()

    async def _look_at_file(self) -> None:
        info = await self.link.call("info")
        self.view.path = info["config"] or ""
        self.view.title = os.path.basename(self.view.path) or "no file"
        self.view.mistakes = info["mistakes"]
        self.change()

    async def list_again(self) -> None:
        """Know what is listed, if its event was not heard yet."""
        for each in await self.link.call("portforward:list"):
            self.view.forwards.setdefault(each["id"], each)

    def _heard(self, method: str, told: dict[str, Any]) -> None:
        if method == "event":
            self._happened(told)
        elif method == "counters":
            if self.view.counted(told["portForwards"], told["seconds"]):
                self.change()
            elif self.screen_stack and self.is_running:
                self.table.pass_time(time.time())

    def _happened(self, event: Event) -> None:
        self.view.heard(event)
        top = self.screen
        if isinstance(top, EventsPage):
            told = event["event"] not in ("added", "removed")
            if told and (event.get("forward") == self._log_of if self._log_of else event["event"] != "kubectl"):
                top.add(event)
        if event["event"] == "notice":
            self._look()
        if not self.view.own:  # otherwise the instance itself rings on this terminal
            self._ring(event)
        self.change()

    @work(exclusive=True, group="file")
    async def _look(self) -> None:
        with suppress(Refused):
            await self._look_at_file()

    def _ring(self, event: Event) -> None:
        forward = event["portForward"]
        if forward is not None and forward["notify"] == "bell" and "state" in event:
            text = self._digest.heard(event["forward"], event["state"], event["message"], time.monotonic())
            if text is not None:
                self.bell()

    def change(self) -> None:
        """Have it drawn soon, together with what else changes."""
        if not self.waiting:
            self.waiting = True
            self.set_timer(_FRAME, self.draw)

    def open_details(self, id: str) -> None:
        self._described, self._kept, self.page_of = {}, [], id

        def text() -> Pieces:
            forward = self.view.forwards.get(id)
            if forward is None:
                return [("it is no longer listed", "")]
            return details(forward, self._described, self._kept, time.time(), self.view.path)

        commands = [
            ("c", "Copy address", self.action_copy_address),
            ("C", "Copy command", self.action_copy_command),
            ("b", "Browser", self.action_browse),
            ("s", "Stop or start", self.stop_or_start),
            ("r", "Restart", self.action_restart),
            ("l", "Log", self.action_log),
        ]
        self.page = TextPage(id, text, commands)

        def closed(_: None) -> None:
            self.page, self.page_of = None, ""

        self.push_screen(self.page, closed)
        self._follow_details(id)

    @work(exclusive=True, group="details")
    async def _follow_details(self, id: str) -> None:
        while self.page_of == id:
            with suppress(Refused):  # it was removed, or the connection is lost
                self._described = await self.link.call("describe", id=id)
                self._kept = await self.link.call("logs", id=id)
            self.change()
            await asyncio.sleep(_AGAIN)

    @work
    async def action_log(self) -> None:
        forward = self.current
        if forward is None:
            return
        try:
            log = await self.link.call("logs", id=forward["id"])
        except Refused as refused:
            self.say(str(refused), wrong=True)
            return
        self._log_of = forward["id"]
        await self.push_screen_wait(EventsPage(f"Log of {forward['id']}", log))
        self._log_of = ""
