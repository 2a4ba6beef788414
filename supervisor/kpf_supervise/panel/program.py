"""The panel: a Textual program that shows an instance and controls it over its control socket, and nothing else."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterable
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Input, Static

from kpf_supervise.panel.driver import TerminalDriver
from kpf_supervise.panel.following import Following
from kpf_supervise.panel_state.columns import PLAIN_SIGNS, SIGNS, Layout
from kpf_supervise.panel_state.ending import GONE, QUIT, SIGNAL
from kpf_supervise.panel_state.keys import KEYS, MOVES
from kpf_supervise.panel_state.link import Instance
from kpf_supervise.panel_state.words import EMPTY, Pieces, event_line, head, mistakes, note
from kpf_supervise.panel_widgets.footer import KeyFooter
from kpf_supervise.panel_widgets.screens import text_of
from kpf_supervise.panel_widgets.table import ForwardTable

_RECENT = 8  # events that a tall terminal shows below the table


class Panel(Following, inherit_bindings=False):
    """`own`: quitting it ends the instance."""

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
        plain = bool(os.environ.get("NO_COLOR"))
        served = bool(os.environ.get("TEXTUAL_DRIVER"))  # to a browser: Textual has a driver for that
        super().__init__(link, own, driver_class=None if served else TerminalDriver, ansi_color=plain or None)
        unicode = str(getattr(sys.__stdout__, "encoding", "utf-8")).lower().startswith("utf")
        self._columns = Layout(SIGNS if unicode else PLAIN_SIGNS)
        self._drawn: dict[str, Pieces] = {}
        self._footer_stops = True  # what it says about the key s
        self.theme = "ansi-dark"
        self.animation_level = "none"

    def compose(self) -> ComposeResult:
        yield Static(id="head")
        with VerticalScroll(id="mistakes", can_focus=False):
            yield Static(id="wrong")
        with Horizontal(id="filtering"):
            yield Input(placeholder="filter", compact=True, id="filter")
            yield Static(id="matches")
        yield ForwardTable(self.view, self._columns)
        yield Static(Text(EMPTY), id="empty")
        yield Static(id="below")
        yield Static(id="note")
        yield Static(id="recent")
        yield KeyFooter()

    def on_mount(self) -> None:
        for number in () if self.is_headless else (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Ctrl-C reaches the whole job: the instance is told by the kernel, too
            code = QUIT if number == signal.SIGINT or not self.view.own else SIGNAL + number
            asyncio.get_running_loop().add_signal_handler(number, self.exit, code)
        self.table.focus()
        self.follow()

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

    # what is shown

    def draw(self) -> None:
        self.waiting = False
        if self.screen_stack and self.is_running and self.view.title:  # else nothing is known yet
            self._draw(time.time())

    def _draw(self, now: float) -> None:
        view, main = self.view, self.screen_stack[0]
        width, height = self.size
        self._put("head", head(view, width - 2))
        self._put("wrong", mistakes(view))
        main.query_one("#mistakes").set_class(bool(view.mistakes), "open")
        filtering = bool(view.filter) or self._filtering
        main.query_one("#filtering").set_class(filtering, "open")
        main.query_one("#empty").set_class(not view.forwards, "open")
        main.set_class(not view.forwards, "empty")
        if filtering:
            self._put("matches", [(f"{len(view.shown())} of {len(view.forwards)}", "")])
        self.table.show(now)
        self._draw_below()
        room = min(max((height - 9) // 3, 0), _RECENT, len(view.events))
        recent = list(view.events)[-room:] if room > 1 else []
        pieces: Pieces = []
        for event in recent:
            pieces += [("\n", "")] * bool(pieces) + event_line({**event, "traceback": ()}, 16)
        self._put("recent", pieces)
        main.query_one("#recent").set_class(bool(recent), "open")
        if self.page is not None:
            self.page.refresh_text()

    def _draw_below(self) -> None:
        if not self.screen_stack:  # it is ending
            return
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
        self.change()

    def on_forward_table_scrolled(self) -> None:
        self._draw_below()

    def on_data_table_row_highlighted(self) -> None:
        self._draw_below()

    def on_data_table_row_selected(self) -> None:
        self.action_open()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        self.view.sort_by(str(event.column_key.value))
        self.draw()

    # the filter

    @property
    def _filtering(self) -> bool:
        return self.screen_stack[0].query_one("#filter").has_focus

    def action_filter(self) -> None:
        main = self.screen_stack[0]
        main.query_one("#filtering").add_class("open")
        main.query_one("#filter").focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        if event.input.id == "filter":
            self.view.filter = event.value
            self.draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "filter":
            self.table.focus()
            self.draw()

    def action_escape(self) -> None:
        if self._filtering or self.view.filter:
            self.screen_stack[0].query_one("#filter", Input).value = ""
            self.table.focus()
        else:
            self.view.marked.clear()
        self.draw()
