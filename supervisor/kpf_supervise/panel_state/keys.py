"""The keys of the panel: one table for the bindings, the footer, the help page and the command palette. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Key(NamedTuple):
    """`keys` as Textual names them, `shown` as people read them. Keys with a `word` stand in the footer."""

    keys: str
    shown: str
    action: str
    help: str
    word: str = ""
    always: bool = False  # also while a page is open, or a filter is typed


KEYS = (
    Key("enter", "Enter", "open", "details of the selected forward; opens a folded line", "Details"),
    Key("s", "s", "stop", "stop it, or start it if it is stopped", "Stop"),
    Key("s", "s", "start", "", "Start"),
    Key("r", "r", "restart", "restart it with a fresh kubectl", "Restart"),
    Key("n", "n", "begin", "begin a new forward: choose it from the cluster", "New"),
    Key("e", "e", "events", "all events, in full", "Events"),
    Key("slash", "/", "filter", "filter by name, state, target, pod, namespace, group, port; Esc clears it", "Filter"),
    Key("S", "S", "stop_all", "stop all forwards; asks first if connections are open", "Stop all"),
    Key("question_mark", "?", "help", "all keys", "Help"),
    Key("q", "q", "quit", "quit; asks first if that ends open connections", "Quit"),
    Key("X", "X", "start_all", "start all again: what Stop all has stopped, else all that are stopped"),
    Key("space", "Space", "mark", "mark it, or no longer; s and r then act on all that are marked"),
    Key("escape", "Esc", "escape", "close what is open; then clear the filter; then unmark all"),
    Key("left", "←", "fold", "fold the ports of one name, or its group, into one line"),
    Key("right", "→", "unfold", "open the folded line"),
    Key("v", "v", "group", "group by namespace, by context, by state, or not at all"),
    Key("o", "o", "sort", "sort as in the file, by name, state or traffic; a click on a title sorts by that column"),
    Key("l", "l", "log", "its log: its events, and what its kubectl wrote"),
    Key("c", "c", "copy_address", "copy its local address"),
    Key("C", "C", "copy_command", "copy its kubectl command"),
    Key("b", "b", "browse", "open http://ADDRESS in the browser"),
    Key("w", "w", "write", "write a forward that was begun here into the file: shows the lines first"),
    Key("E", "E", "edit", "open the file in $VISUAL or $EDITOR"),
    Key("m", "m", "mouse", "give the mouse back to the terminal for selecting text, or take it again"),
    Key("ctrl+p", "Ctrl-P", "command_palette", "search all commands, and change the theme"),
    Key("ctrl+z", "Ctrl-Z", "suspend_process", "stop the program and go to the shell; fg continues it", always=True),
)
# Keys that the table and every list and text understand.
MOVES = (
    Key("up,k", "↑ k", "up", "one line up"),
    Key("down,j", "↓ j", "down", "one line down"),
    Key("pageup,ctrl+b", "PgUp", "page_up", "one page up"),
    Key("pagedown,ctrl+f", "PgDn", "page_down", "one page down"),
    Key("home,g", "Home g", "first", "to the first line"),
    Key("end,G", "End G", "last", "to the last line"),
)
