"""The keys in the last line."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

_LATER = ("events", "restart", "filter", "begin", "open")  # what gives way on a narrow terminal, in this order


class KeyFooter(Footer):
    """Textual's footer. On a narrow terminal, the less important keys are left out."""

    def __init__(self) -> None:
        super().__init__(show_command_palette=False, compact=True)

    def compose(self) -> ComposeResult:
        keys = [key for key in super().compose() if isinstance(key, FooterKey)]
        for action in _LATER:
            if sum(len(key.key_display) + len(key.description) + 2 for key in keys) > self.app.size.width + 1:
                keys = [key for key in keys if key.action != action]
        yield from keys

    def on_resize(self) -> None:
        self.call_after_refresh(self.recompose)
