"""The table of forwards: Textual's DataTable, whose cells are made from the View when they are drawn."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widgets import DataTable

from kpf_supervise.panel_state.columns import PADDING, Cell, Column, Layout
from kpf_supervise.panel_state.keys import MOVES
from kpf_supervise.panel_state.state import Row, View, counts


class ForwardTable(DataTable[str], inherit_bindings=False):
    """Posts `Scrolled` when other rows are in sight."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding(key.keys, key.action, key.help, show=False) for key in MOVES]

    DEFAULT_CSS = """
    ForwardTable { height: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    ForwardTable:ansi { background: ansi_default; }
    ForwardTable:ansi > .datatable--header { background: ansi_default; color: ansi_default; text-style: underline; }
    ForwardTable:ansi > .datatable--cursor,
    ForwardTable:ansi:focus > .datatable--cursor {
        background: ansi_default; color: ansi_default; text-style: reverse;
    }
    """

    class Scrolled(Message):
        pass

    def __init__(self, view: View, layout: Layout) -> None:
        super().__init__(cursor_type="row", cell_padding=PADDING // 2)
        self._view = view
        self._shape = layout
        self._now = 0.0
        self._titles = ("", False)  # by which column the titles say that it is sorted, and whether backwards
        self._columns: list[Column] = []
        self._rows: list[Row] = []
        self._cells: dict[int, list[Cell]] = {}  # of the rows in sight

    @property
    def row(self) -> Row | None:
        """The selected row."""
        return self._rows[self.cursor_row] if 0 <= self.cursor_row < len(self._rows) else None

    def select(self, key: str) -> None:
        for number, row in enumerate(self._rows):
            if row.key == key:
                self.move_cursor(row=number)

    def show(self, now: float) -> None:
        """Show the View as it is now: draws what has changed of the rows in sight. The same forward stays selected,
        wherever it has moved to."""
        view, selected, at = self._view, self.row, self.cursor_row
        rows = view.rows()
        columns = self._shape.columns(view, rows, self.scrollable_content_region.width or 80, now)
        titles = (view.sort, view.backwards)
        fits = columns == self._columns and titles == self._titles and len(rows) == len(self._rows)
        self._rows = rows
        if fits:
            self.pass_time(now)
        else:
            self._columns, self._titles, self._cells, self._now = columns, titles, {}, now
            top = self.scroll_y
            self._rebuild()
            self.scroll_to(y=top, animate=False, force=True)
        if selected is not None:
            at = next((number for number, row in enumerate(rows) if row.key == selected.key), at)
        if not fits or at != self.cursor_row:
            self.move_cursor(row=min(max(at, 0), max(len(rows) - 1, 0)), scroll=False)
            self.call_after_refresh(self._scroll_cursor_into_view)

    def pass_time(self, now: float) -> None:
        """Draw the cells in sight whose text is another one now."""
        known, self._cells, self._now = self._cells, {}, now
        changed = [
            (number, place)
            for number in self._in_sight()
            for place, cell in enumerate(self._cells_of(number))
            if number not in known or known[number][place] != cell
        ]
        if changed:
            numbers, places = (range(min(each), max(each) + 1) for each in zip(*changed, strict=True))
            left = sum(each.width + PADDING for each in self._columns[: places.start])
            width = sum(self._columns[place].width + PADDING for place in places)
            top = self.header_height + numbers.start - int(self.scroll_offset.y)
            self.refresh(Region(left, top, width, len(numbers)))

    def _rebuild(self) -> None:
        self.clear(columns=True)
        sort, backwards = self._titles
        for column in self._columns:
            title = Text(column.title, justify="right" if column.right else "left", no_wrap=True)
            if sort == column.title:
                title.append("↑" if backwards else "↓")
            self.add_column(title, key=column.title, width=column.width)
        self.add_rows([()] * len(self._rows))

    def _in_sight(self) -> range:
        top = int(self.scroll_offset.y)
        height = max(self.scrollable_content_region.height - self.header_height, 0)
        return range(top, min(top + height, len(self._rows)))

    def _cells_of(self, number: int) -> list[Cell]:
        if number not in self._cells:
            row, shape = self._rows[number], self._shape
            self._cells[number] = [shape.cell(column, row, self._view, self._now) for column in self._columns]
        return self._cells[number]

    def _render_line(self, y: int, x1: int, x2: int, base_style: Style) -> Strip:
        """Textual's own takes 50 ms for a screen of cells that may be anything. These are one line in one style."""
        number = y - self.header_height
        if not 0 <= number < len(self._rows):
            return super()._render_line(y, x1, x2, base_style)
        hover = self._show_hover_cursor and number == self.hover_row
        cursor = number == self.cursor_row
        component, post = self._get_styles_to_render_cell(
            False, False, False, hover, cursor, self.show_cursor, self._show_hover_cursor, False, False
        )
        plain = base_style + component + post + _place(number)
        segments = [
            segment
            for column, cell in zip(self._columns, self._cells_of(number), strict=True)
            for segment in _segments(cell, column.width, plain)
        ]
        return Strip(segments).crop_extend(x1, x2, plain)

    @property
    def below(self) -> str:
        """What is below the last row in sight: `↓ 32 more (4 failed)`; empty if nothing is."""
        rows = self._rows[self._in_sight().stop :]
        hidden = [forward for row in rows if row.kind != "group" for forward in row.forwards]
        if not hidden:
            return ""
        failed = counts(hidden).get("failed", 0)
        return f"↓ {len(hidden)} more" + (f" ({failed} failed)" if failed else "")

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._cells = {}
        self.post_message(self.Scrolled())

    def on_resize(self, event: events.Resize) -> None:
        self.post_message(self.Scrolled())

    def on_click(self, event: events.Click) -> None:
        """A click on the selected row opens it, wherever in the row."""
        meta = event.style.meta
        if meta.get("row", -1) == self.cursor_row and meta.get("row", -1) >= 0:
            self.action_select_cursor()
            event.prevent_default()
            event.stop()

    def action_up(self) -> None:
        self.action_cursor_up()

    def action_down(self) -> None:
        self.action_cursor_down()

    def action_first(self) -> None:
        self.move_cursor(row=0)

    def action_last(self) -> None:
        self.move_cursor(row=max(len(self._rows) - 1, 0))


@lru_cache(1000)
def _style(look: str, link: str) -> Style:
    return Style.parse(look) + Style(link=link or None)


@lru_cache(10_000)
def _place(row: int) -> Style:
    """What a click finds."""
    return Style.from_meta({"row": row, "column": 0})


@lru_cache(10_000)
def _segments(cell: Cell, width: int, plain: Style) -> tuple[Segment, ...]:
    rest = " " * (width - cell_len(cell.text))
    front, back = (f" {rest}", " ") if cell.right else (" ", f"{rest} ")
    text = set_cell_size(cell.text, width) if not rest else cell.text
    if not (cell.look or cell.link):
        return (Segment(f"{front}{text}{back}", plain),)
    return Segment(front, plain), Segment(text, plain + _style(cell.look, cell.link)), Segment(back, plain)
