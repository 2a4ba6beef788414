"""The table of forwards: Textual's DataTable, filled from the View. Only what has changed is touched."""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable

from kpf_supervise.panel.columns import PADDING, Cell, Column, Layout
from kpf_supervise.panel.keys import MOVES
from kpf_supervise.panel.state import Row, View, counts


class ForwardTable(DataTable[Text], inherit_bindings=False):
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
        self._columns: list[Column] = []
        self._rows: list[Row] = []
        self._cells: dict[tuple[str, str], Cell] = {}

    @property
    def row(self) -> Row | None:
        """The selected row."""
        return self._rows[self.cursor_row] if 0 <= self.cursor_row < len(self._rows) else None

    def select(self, key: str) -> None:
        for number, row in enumerate(self._rows):
            if row.key == key:
                self.move_cursor(row=number)

    def show(self, now: float) -> None:
        """Show the View as it is now. The same forward stays selected, wherever it has moved to."""
        rows = self._view.rows()
        columns = self._shape.columns(self._view, rows, self.scrollable_content_region.width or 80, now)
        selected, keys = self.row, [row.key for row in rows]
        same_rows = keys == [row.key for row in self._rows] and columns == self._columns
        at = self.cursor_row
        if selected is not None and selected.key in keys:
            at = keys.index(selected.key)
        if not same_rows:
            top = self.scroll_y
            self._rebuild(rows, columns, now)
            self.move_cursor(row=min(max(at, 0), max(len(rows) - 1, 0)), scroll=False)
            self.scroll_to(y=top, animate=False, force=True)
            self.call_after_refresh(self._scroll_cursor_into_view)
            return
        self._rows = rows
        for row in rows:
            for column in columns:
                cell = self._shape.cell(column, row, self._view, now)
                if self._cells[row.key, column.title] != cell:
                    self._cells[row.key, column.title] = cell
                    self.update_cell(row.key, column.title, _text(cell, column))

    def _rebuild(self, rows: list[Row], columns: list[Column], now: float) -> None:
        self.clear(columns=True)
        self._rows, self._columns, self._cells = rows, columns, {}
        for column in columns:
            title = Text(column.title, justify="right" if column.right else "left", no_wrap=True)
            if self._view.sort == column.title:
                title.append("↑" if self._view.backwards else "↓")
            self.add_column(title, key=column.title, width=column.width)
        for row in rows:
            cells = {column.title: self._shape.cell(column, row, self._view, now) for column in columns}
            self._cells |= {(row.key, title): cell for title, cell in cells.items()}
            self.add_row(*(_text(cells[column.title], column) for column in columns), key=row.key)

    def sort_shown(self) -> None:
        """Have the titles drawn anew at the next `show`."""
        self._columns = []

    @property
    def below(self) -> str:
        """What is below the last row in sight: `↓ 32 more (4 failed)`; empty if nothing is."""
        height = self.scrollable_content_region.height - self.header_height
        last = int(self.scroll_offset.y) + max(height, 0)
        hidden = [forward for row in self._rows[last:] if row.kind != "group" for forward in row.forwards]
        if not hidden:
            return ""
        failed = counts(hidden).get("failed", 0)
        return f"↓ {len(hidden)} more" + (f" ({failed} failed)" if failed else "")

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
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


def _text(cell: Cell, column: Column) -> Text:
    style = Style.parse(cell.look)
    if cell.link:
        style += Style(link=cell.link)
    return Text(cell.text, style=style, justify="right" if column.right else "left", no_wrap=True, overflow="ellipsis")
