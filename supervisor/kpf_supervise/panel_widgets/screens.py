"""The pages above the table: details, log, events, help, and questions. Each closes with Esc."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, RichLog, Static
from textual.widgets.option_list import Option

from kpf_supervise.panel_state.keys import KEYS, MOVES
from kpf_supervise.panel_state.state import Event
from kpf_supervise.panel_state.words import Pieces, event_line
from kpf_supervise.panel_widgets.footer import KeyFooter

_CLOSE: list[BindingType] = [Binding("escape,q", "close", "Close", key_display="Esc")]
_MOVES: list[BindingType] = [Binding(key.keys, key.action, show=False) for key in MOVES]


def text_of(pieces: Pieces) -> Text:
    return Text.assemble(*pieces)


class Page(ModalScreen[None]):
    """A page with a title; `body` gives its widgets, and `scrolls` is what its keys move."""

    body: Callable[[], Iterable[Static | VerticalScroll | RichLog | Input]]
    scrolls: ClassVar[type[VerticalScroll] | type[RichLog]] = VerticalScroll

    DEFAULT_CSS = """
    Page > Vertical { height: 1fr; border: round $primary; padding: 0 1; background: $background; }
    Page VerticalScroll { height: 1fr; }
    Page RichLog { height: 1fr; background: $background; overflow-x: hidden; }
    Page Input { height: 1; border: none; padding: 0; display: none; }
    Page Input.open { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*_CLOSE, *_MOVES]

    def __init__(self, title: str) -> None:
        super().__init__()
        self._heading = title

    def compose(self) -> ComposeResult:
        with Vertical() as frame:
            frame.border_title = Text(self._heading)
            yield from self.body()
        yield KeyFooter()

    def action_close(self) -> None:
        self.dismiss()

    def action_up(self) -> None:
        self.query_one(self.scrolls).scroll_up(animate=False)

    def action_down(self) -> None:
        self.query_one(self.scrolls).scroll_down(animate=False)

    def action_page_up(self) -> None:
        self.query_one(self.scrolls).scroll_page_up(animate=False)

    def action_page_down(self) -> None:
        self.query_one(self.scrolls).scroll_page_down(animate=False)

    def action_first(self) -> None:
        self.query_one(self.scrolls).scroll_home(animate=False)

    def action_last(self) -> None:
        self.query_one(self.scrolls).scroll_end(animate=False)


class TextPage(Page):
    """A text that may change while it is shown. `commands` are (key, word, what it does)."""

    def __init__(
        self, title: str, text: Callable[[], Pieces], commands: Sequence[tuple[str, str, Callable[[], object]]] = ()
    ) -> None:
        super().__init__(title)
        self._text = text
        self._commands = {f"command_{number}": command for number, command in enumerate(commands)}
        for name, (key, word, _) in self._commands.items():
            self._bindings.bind(key, f"do('{name}')", word)

    def body(self) -> Iterable[VerticalScroll]:
        yield VerticalScroll(Static(text_of(self._text())))

    def refresh_text(self) -> None:
        for text in self.query(Static):
            text.update(text_of(self._text()))

    def action_do(self, name: str) -> None:
        self._commands[name][2]()


def help_page() -> TextPage:
    pieces: Pieces = []
    for key in (*MOVES, *(key for key in KEYS if key.help)):
        pieces += [(f"{key.shown:<8}", "bold"), (f"{key.help}\n", "")]
    return TextPage("Keys", lambda: pieces)


class EventsPage(Page):
    """Events, whole and wrapped. It follows new ones until one scrolls back; `/` searches."""

    scrolls = RichLog
    BINDINGS: ClassVar[list[BindingType]] = [Binding("slash", "search", "Search", key_display="/")]

    def __init__(self, title: str, events: Iterable[Event]) -> None:
        super().__init__(title)
        self._events = list(events)
        self._width = 0

    def body(self) -> Iterable[Input | RichLog]:
        yield Input(placeholder="search", compact=True)
        yield RichLog(wrap=True, markup=False, highlight=False, min_width=1)

    def on_mount(self) -> None:
        self.query_one(RichLog).focus()

    def on_resize(self) -> None:
        if self.size.width != self._width:
            self._width = self.size.width
            self.call_after_refresh(self._fill)

    def replace(self, events: Iterable[Event]) -> None:
        self._events = list(events)
        self._fill()

    def add(self, event: Event) -> None:
        self._events.append(event)
        log = self.query_one(RichLog)
        if self._matches(event):
            self._write(event, log.is_vertical_scroll_end)

    def _write(self, event: Event, scroll: bool) -> None:
        log = self.query_one(RichLog)
        width = log.scrollable_content_region.width  # by itself, it would wrap at 80 characters
        log.write(text_of(event_line(event)), width=max(width, 1), scroll_end=scroll)

    def _matches(self, event: Event) -> bool:
        words = self.query_one(Input).value.lower().split()
        text = "".join(text for text, _ in event_line(event)).lower()
        return all(word in text for word in words)

    def _fill(self) -> None:
        log = self.query_one(RichLog)
        log.clear()
        for event in filter(self._matches, self._events):
            self._write(event, False)
        log.scroll_end(animate=False)

    def action_search(self) -> None:
        search = self.query_one(Input)
        search.add_class("open")
        search.focus()

    def on_input_changed(self) -> None:
        self._fill()

    def on_input_submitted(self) -> None:
        self.query_one(RichLog).focus()

    def action_close(self) -> None:
        search = self.query_one(Input)
        if search.has_class("open"):
            search.value = ""
            search.remove_class("open")
            self.query_one(RichLog).focus()
        else:
            self.dismiss()


class Question(ModalScreen[bool]):
    """Asks, above the page that is shown. `yes` says what happens; nothing happens without it."""

    DEFAULT_CSS = """
    Question { align: center middle; }
    Question > Vertical {
        width: 70; max-width: 100%; height: auto; max-height: 100%;
        border: round $warning; padding: 0 1; background: $background;
    }
    Question VerticalScroll { height: auto; max-height: 1fr; }
    Question OptionList, Question OptionList:focus {
        height: auto; border: none; background: $background; padding: 0;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,q", "answer(False)", "No"),
    ]

    def __init__(self, question: Pieces, yes: str, no: str) -> None:
        super().__init__()
        self._question, self._yes, self._no = question, yes, no

    def compose(self) -> ComposeResult:
        with Vertical():
            with VerticalScroll(can_focus=False):
                yield Static(text_of(self._question))
            yield OptionList(Option(Text(f"y  {self._yes}"), id="yes"), Option(Text(f"n  {self._no}"), id="no"))

    def on_option_list_option_selected(self, chosen: OptionList.OptionSelected) -> None:
        self.dismiss(chosen.option_id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)
