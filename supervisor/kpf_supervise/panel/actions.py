"""What the keys of the panel do."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from textual import work
from textual.app import App

from kpf_supervise.control.client import Refused
from kpf_supervise.panel.driver import TerminalDriver
from kpf_supervise.panel_state import hands, saving
from kpf_supervise.panel_state.cells import declared_by, local
from kpf_supervise.panel_state.ending import QUIT
from kpf_supervise.panel_state.link import Instance
from kpf_supervise.panel_state.starting import again, free_name
from kpf_supervise.panel_state.state import GROUPINGS, SORTS, Forward, Row, View
from kpf_supervise.panel_state.words import Pieces
from kpf_supervise.panel_widgets.begin import BeginPage, Begun
from kpf_supervise.panel_widgets.screens import EventsPage, Question, help_page
from kpf_supervise.panel_widgets.table import ForwardTable


class Actions(App[int], inherit_bindings=False):
    """Subclassed by the panel, which shows what they change."""

    view: View
    link: Instance
    page_of: str  # the forward whose details are shown, or empty
    draw: Callable[[], None]  # shows the View as it is now
    list_again: Callable[[], Awaitable[None]]
    open_details: Callable[[str], None]
    told_for = (3.0, 8.0)  # seconds for which a line is shown, and one that says what is wrong

    @property
    def table(self) -> ForwardTable:
        return self.screen_stack[0].query_one(ForwardTable)

    def say(self, text: str, wrong: bool = False) -> None:
        """A line that disappears by itself."""
        self.notify(text, severity="error" if wrong else "information", markup=False, timeout=self.told_for[wrong])

    @property
    def current(self) -> Forward | None:
        """The forward whose details are shown, else the selected one; the first one of a folded line."""
        if self.page_of:
            return self.view.forwards.get(self.page_of)
        row = self.table.row
        return self.view.forwards.get(row.forwards[0]["id"]) if row is not None else None

    @property
    def chosen(self) -> list[Forward]:
        """What an action is about."""
        if self.page_of:
            return [self.current] if self.current is not None else []
        return self.view.chosen(self.table.row)

    async def call_each(self, calls: Iterable[Awaitable[Any]]) -> None:
        """Make the calls one after the other; say which are refused."""
        for call in calls:
            try:
                await call
            except Refused as refused:
                self.say(str(refused), wrong=True)

    # forwards

    def action_open(self) -> None:
        row = self.table.row
        if row is not None and row.kind == "forward":
            self.open_details(row.forwards[0]["id"])
        elif row is not None:
            self._fold(row, not row.closed)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The same key stops, and starts what is stopped."""
        if action in ("stop", "start") and self.screen_stack:
            return self.stops == (action == "stop")
        return True

    def stop_or_start(self) -> None:
        (self.action_stop if self.stops else self.action_start)()

    @property
    def stops(self) -> bool:
        return not self.chosen or any(each["listening"] for each in self.chosen)

    @work
    async def action_stop(self) -> None:
        chosen = [each["id"] for each in self.chosen if each["listening"]]
        await self.call_each(self.link.call("portforward:stop", id=id) for id in chosen)

    @work
    async def action_start(self) -> None:
        await self.call_each(self.link.call("restart", id=each["id"]) for each in self.chosen)

    @work
    async def action_restart(self) -> None:
        await self.call_each(self.link.call("restart", id=each["id"]) for each in self.chosen)

    @work
    async def action_stop_all(self) -> None:
        if self.view.open and not await self._sure("Stop all forwards?", "stop all", "stop nothing"):
            return
        listening = [each for each in self.view.forwards.values() if each["listening"]]
        try:
            self.view.stopped = {each["id"]: await self._again(each) for each in listening}
            await self.link.call("stop_all")
        except Refused as refused:
            self.say(str(refused), wrong=True)
            return
        self.say("all are stopped; X starts them again")

    @work
    async def action_start_all(self) -> None:
        stopped, self.view.stopped = self.view.stopped, {}
        listed = [id for id, each in self.view.forwards.items() if each["state"] == "stopped"]
        if stopped:
            listed = [id for id in listed if id in stopped]
        gone = [params for id, params in stopped.items() if id not in self.view.forwards]
        await self.call_each(self.link.call("restart", id=id) for id in listed)
        await self.call_each(self.link.call("portforward:start", **params) for params in gone)

    async def _again(self, forward: Forward) -> dict[str, Any]:
        """What starts it again: the parameters of `portforward:start`, if no file declares it."""
        return {} if forward["declared"] else again(forward, await self.link.call("describe", id=forward["id"]))

    async def _sure(self, question: str, yes: str, no: str) -> bool:
        count = self.view.open
        told: Pieces = [(f"{count} connection{'s are' if count != 1 else ' is'} open. {question}", "bold")]
        return await self.push_screen_wait(Question(told, yes, no))

    @work
    async def action_begin(self) -> None:
        begun: Begun | None = await self.push_screen_wait(BeginPage(self.link.call, self.view.path))
        if begun is None:
            return
        params = begun.params | {"id": free_name(begun.params, self.view.forwards)}
        try:
            id = await self.link.call("portforward:start", **params)
            await self.list_again()
        except Refused as refused:
            self.say(str(refused), wrong=True)
            return
        self.draw()
        self.table.select(f"forward {id}")
        forward = self.view.forwards.get(id)
        if forward is not None:  # nobody has stopped it meanwhile
            self.say(f"{id} listens on {local(forward)}")
            if begun.save:
                await self._write(forward)

    @work
    async def action_write(self) -> None:
        forward = self.current
        if forward is None or not self.view.path:
            self.say("there is no file to write into", wrong=True)
        elif forward["declared"]:
            self.say(f"nothing to write: {forward['id']} is declared by {declared_by(forward, self.view.path)}")
        else:
            await self._write(forward)

    async def _write(self, forward: Forward) -> None:
        """Show the lines, and add them to the file if that is wanted."""
        try:
            described = await self.link.call("describe", id=forward["id"])
            contexts = await self.link.call("contexts")
        except Refused as refused:
            self.say(str(refused), wrong=True)
            return
        anyway = next((each["name"] for each in contexts if each["current"]), None)
        lines = saving.lines_of(forward, described, anyway)
        asked: Pieces = [
            (f"Add these lines to {self.view.path}?\n\n", "bold"),
            ("".join(f"  {line}\n" for line in lines), "cyan"),
        ]
        if not await self.push_screen_wait(Question(asked, "add them", "leave the file as it is")):
            return
        try:
            saving.append(Path(self.view.path), forward["id"], lines)
        except saving.NotSaved as error:
            self.say(str(error), wrong=True)
        else:
            self.say(f"{forward['id']} is in the file now")

    # what is shown

    def action_events(self) -> None:
        self.push_screen(EventsPage("Events", self.view.events))

    def action_help(self) -> None:
        self.push_screen(help_page())

    def action_mark(self) -> None:
        if self.table.row is not None:
            self.view.mark(self.table.row)
            self.table.action_cursor_down()
            self.draw()

    def action_fold(self) -> None:
        if self.table.row is not None:
            self._fold(self.table.row, True)

    def action_unfold(self) -> None:
        if self.table.row is not None:
            self._fold(self.table.row, False)

    def _fold(self, row: Row, close: bool) -> None:
        key = self.view.fold(row) if close else self.view.unfold(row)
        self.draw()
        self.table.select(key)

    def action_group(self) -> None:
        grouping = GROUPINGS[(GROUPINGS.index(self.view.grouping) + 1) % len(GROUPINGS)]
        self.view.grouping = grouping
        self.draw()

    def action_sort(self) -> None:
        at = SORTS.index(self.view.sort) if self.view.sort in SORTS else 0
        self.view.sort, self.view.backwards = SORTS[(at + 1) % len(SORTS)], False
        self.draw()

    def action_move(self, how: str) -> None:
        getattr(self.table, f"action_{how}")()

    # the world outside

    def _copy(self, text: str) -> None:
        self.copy_to_clipboard(text)
        self.say(f"copied: {text}")

    def action_copy_address(self) -> None:
        if self.current is not None:
            self._copy(local(self.current))

    def action_copy_command(self) -> None:
        if self.current is not None and self.current["command"]:
            self._copy(self.current["command"])
        elif self.current is not None:
            self.say("no kubectl was started for it yet")

    def action_browse(self) -> None:
        if self.current is None or not self.current["listening"]:
            self.say("it does not listen", wrong=True)
            return
        url = f"http://{local(self.current)}"
        if self.is_web:
            self.open_url(url)
            return
        words = hands.browser(os.environ)
        try:
            if words:
                hands.browse(words, url)
                self.say(f"opened {url}")
            else:
                self.copy_to_clipboard(url)
                self.say(f"no browser was found here; copied: {url}")
        except OSError as error:
            self.say(f"cannot run {words[0]}: {error.strerror}", wrong=True)

    @work
    async def action_edit(self) -> None:
        words = hands.editor(os.environ)
        if self.is_web:
            self.say("the editor needs a terminal", wrong=True)
            return
        if not self.view.path or not words:
            self.say("no editor was found: set $EDITOR" if self.view.path else "there is no file", wrong=True)
            return
        try:
            with self.suspend():
                await hands.on_terminal([*words, self.view.path])
        except OSError as error:
            self.say(f"cannot run {words[0]}: {error.strerror}", wrong=True)

    def action_mouse(self) -> None:
        driver = self._driver
        if isinstance(driver, TerminalDriver):
            driver.set_mouse(not driver.mouse_on)
            self.say("the mouse is the panel's again" if driver.mouse_on else "the mouse selects text; m takes it back")

    def action_suspend_process(self) -> None:
        if isinstance(self._driver, TerminalDriver):
            self._driver.stop_job()

    @work
    async def action_quit(self) -> None:  # type: ignore[override]
        if not (self.view.own and self.view.open) or await self._sure("Quit and stop all?", "quit", "stay"):
            self.exit(QUIT)
