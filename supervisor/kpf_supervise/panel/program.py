"""The panel: a Textual program that shows an instance and controls it over its control socket, and nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Input, Static

from kpf_supervise.control.client import Refused
from kpf_supervise.events.summary import Digest
from kpf_supervise.panel.actions import ENDED, GONE, QUIT, Actions, Instance
from kpf_supervise.panel.columns import PLAIN_SIGNS, SIGNS, Layout
from kpf_supervise.panel.driver import TerminalDriver
from kpf_supervise.panel.footer import KeyFooter
from kpf_supervise.panel.keys import KEYS, MOVES
from kpf_supervise.panel.screens import EventsPage, TextPage, text_of
from kpf_supervise.panel.state import Event, View
from kpf_supervise.panel.table import ForwardTable
from kpf_supervise.panel.words import EMPTY, Pieces, details, event_line, head, mistakes, note

_LIST = 1.0  # seconds between two reads of the counters, whose changes are not events
_FRAME = 0.02  # seconds in which changes are gathered before they are shown
_RECENT = 8  # events that a tall terminal shows below the table


class Panel(Actions, inherit_bindings=False):
    """`own`: quitting it ends the instance. `trouble`: why there was nothing to show."""

    CSS = """
    Screen { background: $background; }
    #head { height: 1; padding: 0 1; }
    #mistakes { height: auto; max-height: 50%; padding: 0 1; display: none; }
    #mistakes.open { display: block; }
    #filtering { height: 1; padding: 0 1; display: none; }
    #filtering.open { display: block; }
    #filtering Input { width: 1fr; border: none; height: 1; padding: 0; }
    #matches { width: auto; padding: 0 1; }
    #empty { height: 1fr; padding: 1 2; display: none; }
    #empty.open { display: block; }
    .empty ForwardTable { height: 1; }
    #below { height: 1; padding: 0 1; }
    #note { height: auto; max-height: 6; padding: 0 1; }
    #recent { height: auto; padding: 0 1; border-top: solid $primary; display: none; }
    #recent.open { display: block; }
    #recent, #below, #head { text-wrap: nowrap; text-overflow: ellipsis; }
    """
    TITLE = "kpf-supervise"
    AUTO_FOCUS = "ForwardTable, RichLog, VerticalScroll, OptionList"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key.keys, f"move('{key.action}')", key.help, show=False) for key in MOVES),
        *(Binding(key.keys, key.action, key.word or key.help, bool(key.word), key.shown, key.always) for key in KEYS),
    ]

    def __init__(self, link: Instance, own: bool) -> None:
        super().__init__(driver_class=TerminalDriver)
        unicode = str(getattr(sys.__stdout__, "encoding", "utf-8")).lower().startswith("utf")
        self.view = View(own)
        self.trouble = ""
        self.link = link
        self.link.heard = self._heard
        self._columns = Layout(SIGNS if unicode else PLAIN_SIGNS)
        self._listed_at = 0.0
        self._waiting = False  # a drawing is due
        self._drawn: dict[str, Pieces] = {}
        self._footer_stops = True  # what it says about the key s
        self._digest = Digest()
        self._described: dict[str, Any] = {}  # of the forward whose details are shown
        self._kept: list[Event] = []
        self._page: TextPage | None = None  # its details
        self._log_of = ""  # the forward whose log is shown
        self.theme = "ansi-dark"
        self.animation_level = "none"

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        with VerticalScroll(id="mistakes", can_focus=False):
            yield Static(id="wrong")
        with Horizontal(id="filtering"):
            yield Input(placeholder="filter", compact=True)
            yield Static(id="matches")
        yield ForwardTable(self.view, self._columns)
        yield Static(Text(EMPTY), id="empty")
        yield Static(id="below")
        yield Static(id="note")
        yield Static(id="recent")
        yield KeyFooter()

    def on_mount(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Ctrl-C reaches the whole job: the instance is told by the kernel, too
            code = QUIT if number == signal.SIGINT or not self.view.own else 128 + number
            with suppress(NotImplementedError, ValueError, RuntimeError):  # a test, in another thread
                asyncio.get_running_loop().add_signal_handler(number, self.exit, code)
        self.table.focus()
        self._follow()

    def terminal_gone(self) -> None:
        self.exit(GONE)

    def _handle_exception(self, error: Exception) -> None:
        super()._handle_exception(error)
        self._exit_renderables.clear()  # a picture of the traceback with the values of all variables

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        for key in KEYS:
            if key.help and key.action not in ("command_palette", "escape"):
                yield SystemCommand(f"{key.shown}  {key.help}", "", lambda key=key: self._carry_out(key.action))
        yield SystemCommand("Theme", "change the colours", self.action_change_theme)

    @work
    async def _carry_out(self, action: str) -> None:
        await self.run_action(action)

    # the instance

    @work
    async def _follow(self) -> None:
        """Show the instance until it has ended. A connection that was lost is made again: while we are stopped, the
        instance drops it."""
        while True:
            try:
                await self.link.connect()
            except OSError as error:
                self.trouble = str(error.strerror or error)
                self.exit(ENDED)
                return
            listening = asyncio.ensure_future(self.link.listen())
            try:
                await self._poll()
            except Refused:
                await listening
            finally:
                listening.cancel()

    async def _poll(self) -> None:
        """Fetch the current state and the past events once, then the counters repeatedly. Raises Refused once the
        connection is lost."""
        self._listed_at = 0.0
        await self._look_at_file()
        self._listed(await self.link.call("subscribe"))
        for event in await self.link.call("events"):
            self.view.told(event)
        if isinstance(self.screen, EventsPage) and not self._log_of:
            self.screen.replace(self.view.events)
        self._change()
        while True:
            await asyncio.sleep(_LIST)
            await self.list_again()
            await self._look_at_file()
            if self._page is not None:
                await self._look_at(self._page_of)

    async def _look_at_file(self) -> None:
        info = await self.link.call("info")
        self.view.path = info["config"] or ""
        self.view.title = os.path.basename(self.view.path) or "sandbox"
        self.view.mistakes = info["mistakes"]
        self._change()

    async def list_again(self) -> None:
        self._listed(await self.link.call("portforward:list"))

    def _listed(self, forwards: list[dict[str, Any]]) -> None:
        now = time.monotonic()
        self.view.listed(forwards, now - self._listed_at if self._listed_at else 0.0)
        self._listed_at = now
        self._change()

    def _heard(self, event: Event) -> None:
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
        self._change()

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

    # what is shown

    def _change(self) -> None:
        """Have it drawn soon, together with what else changes."""
        if not self._waiting:
            self._waiting = True
            self.set_timer(_FRAME, self.draw)

    def draw(self) -> None:
        self._waiting = False
        if self.screen_stack and self.is_running:
            self._draw(time.time())

    def _draw(self, now: float) -> None:
        view, main = self.view, self.screen_stack[0]
        width, height = self.size
        self._put("head", head(view, width - 2))
        self._put("wrong", mistakes(view))
        main.query_one("#mistakes").set_class(bool(view.mistakes), "open")
        main.query_one("#filtering").set_class(bool(view.filter) or self._filtering, "open")
        main.query_one("#empty").set_class(not view.forwards, "open")
        main.set_class(not view.forwards, "empty")
        self._put("matches", [(f"{len(view.shown())} of {len(view.forwards)}", "")])
        self.table.show(now)
        self._draw_below()
        room = min(max((height - 9) // 3, 0), _RECENT, len(view.events))
        recent = list(view.events)[-room:] if room > 1 else []
        pieces: Pieces = []
        for event in recent:
            pieces += [("\n", "")] * bool(pieces) + event_line({**event, "traceback": ()}, 24)
        self._put("recent", pieces)
        main.query_one("#recent").set_class(bool(recent), "open")
        if self._page is not None:
            self._page.refresh_text()

    def _draw_below(self) -> None:
        view = self.view
        told = (
            self.table.below,
            f"{len(view.marked)} marked" if view.marked else "",
            f"grouped by {view.grouping}" if view.grouping else "",
            f"sorted by {view.sort}{', backwards' if view.backwards else ''}" if view.sort != "file" else "",
        )
        self._put("below", [(" · ".join(filter(None, told)), "dim")])
        self._put("note", note(self.view, self.current))
        if self.stops != self._footer_stops:  # the footer is made anew
            self._footer_stops = self.stops
            self.refresh_bindings()

    def _put(self, name: str, pieces: Pieces) -> None:
        if self._drawn.get(name) != pieces:
            self._drawn[name] = pieces
            self.screen_stack[0].query_one(f"#{name}", Static).update(text_of(pieces))

    def on_resize(self) -> None:
        self._change()

    def on_forward_table_scrolled(self) -> None:
        self._draw_below()

    def on_data_table_row_highlighted(self) -> None:
        self._draw_below()

    def on_data_table_row_selected(self) -> None:
        self.action_open()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        self.view.sort_by(str(event.column_key.value))
        self.table.sort_shown()
        self.draw()

    # pages

    def open_details(self, id: str) -> None:
        self._described, self._kept, self._page_of = {}, [], id

        def text() -> Pieces:
            forward = self.view.forwards.get(id)
            if forward is None:
                return [("it is no longer listed", "")]
            return details(forward, self._described, self._kept, time.time())

        commands = [
            ("c", "Copy address", self.action_copy_address),
            ("C", "Copy command", self.action_copy_command),
            ("b", "Browser", self.action_browse),
            ("s", "Stop or start", self.stop_or_start),
            ("r", "Restart", self.action_restart),
            ("l", "Log", self.action_log),
        ]
        self._page = TextPage(id, text, commands)

        def closed(_: None) -> None:
            self._page = None

        self.push_screen(self._page, closed)
        self._look_at_details()

    @work(exclusive=True, group="details")
    async def _look_at_details(self) -> None:
        with suppress(Refused):
            await self._look_at(self._page_of)
            self._change()

    async def _look_at(self, id: str) -> None:
        if id in self.view.forwards:
            with suppress(Refused):  # it was removed meanwhile
                self._described = await self.link.call("describe", id=id)
                self._kept = await self.link.call("logs", id=id)

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

    # the filter

    @property
    def _filtering(self) -> bool:
        return self.screen_stack[0].query_one("#filtering Input").has_focus

    def action_filter(self) -> None:
        main = self.screen_stack[0]
        main.query_one("#filtering").add_class("open")
        main.query_one("#filtering Input").focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.screen is self.screen_stack[0]:
            self.view.filter = event.value
            self.draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.screen is self.screen_stack[0]:
            self.table.focus()
            self.draw()

    def action_escape(self) -> None:
        if self._filtering or self.view.filter:
            self.screen_stack[0].query_one("#filtering Input", Input).value = ""
            self.table.focus()
        else:
            self.view.marked.clear()
        self.draw()
