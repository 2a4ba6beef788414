"""Begins a forward, step by step: context, namespace, target, port, local port. Each step lists what the cluster
offers, and typing filters it; what is not listed can be typed whole."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from kpf_supervise.control.client import Refused
from kpf_supervise.panel_widgets.footer import KeyFooter
from kpf_supervise.text import one_line

Call = Callable[..., Awaitable[Any]]

STEPS = ("context", "namespace", "target", "port", "local port", "start")
_LEAST = 1024  # smaller ports need rights that a user does not have


@dataclass(frozen=True, slots=True)
class Choice:
    value: str
    note: str = ""


@dataclass(slots=True)
class Begun:
    """What was chosen. `params` are those of `portforward:start`."""

    params: dict[str, Any]
    save: bool


@dataclass(slots=True)
class _Offer:
    choices: list[Choice] = field(default_factory=list)
    preferred: str = ""


def free_port(wanted: int) -> int:
    """`wanted`, or the next one that is free on this machine; 0 if none is found."""
    first = wanted if wanted >= _LEAST else 8000 + wanted
    for port in range(first, min(first + 200, 65536)):
        if _is_free(port):
            return port
    return 0


def _is_free(port: int) -> bool:
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                if family is socket.AF_INET:
                    return False  # without IPv6 there is no such address at all
                with suppress(OSError):
                    probe.bind((host, 0))
                    return False
    return True


class _Typed(Input):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "submit", "Choose", key_display="Enter")]


class BeginPage(ModalScreen[Begun | None]):
    """Asks step by step; Esc goes a step back."""

    DEFAULT_CSS = """
    BeginPage { align: center middle; }
    BeginPage > Vertical {
        width: 90; max-width: 100%; height: 24; max-height: 100%;
        border: round $primary; padding: 0 1; background: $background;
    }
    BeginPage Input { height: 1; border: none; padding: 0; }
    BeginPage OptionList { height: 1fr; border: none; padding: 0; background: $background; }
    BeginPage #told { color: $error; height: auto; max-height: 4; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", key_display="Esc"),
        Binding("down", "move(1)", "Choose", show=False),
        Binding("up", "move(-1)", show=False),
        Binding("pagedown", "move(8)", show=False),
        Binding("pageup", "move(-8)", show=False),
    ]

    def __init__(self, call: Call, path: str) -> None:
        super().__init__()
        self._call = call
        self._file = path
        self._step = self._first = 0
        self._chosen: dict[str, str] = {}
        self._offer = _Offer()
        self._typed = ""  # what `_found` matches
        self._found: list[Choice] = []  # of what is offered, what matches the typed words
        self._targets: dict[str, list[dict[str, Any]]] = {}
        self._default_context = ""
        self._own: dict[str, str] = {}  # the namespace of each context

    def compose(self) -> ComposeResult:
        with Vertical() as frame:
            frame.border_title = "New forward"
            yield Static(id="path")
            yield _Typed(compact=True)
            yield Static(id="told")
            yield OptionList(markup=False)
        yield KeyFooter()

    def on_mount(self) -> None:
        self.query_one(OptionList).can_focus = False
        self._ask()

    @property
    def _at(self) -> str:
        return STEPS[self._step]

    @work(exclusive=True)
    async def _ask(self) -> None:
        """Show the step, and what it offers as soon as that is known."""
        path = "".join(f"{self._chosen[name]} › " for name in STEPS[: self._step])
        self.query_one("#path", Static).update(Text.assemble((path, ""), (f"{self._at}?", "bold")))
        told = self.query_one("#told", Static)
        told.update(Text(""))
        typed = self.query_one(Input)
        typed.placeholder = "asking…"
        self._offer = _Offer()
        typed.value = ""
        self._list()
        typed.focus()
        try:
            self._offer = await self._offers()
        except Refused as refused:
            told.update(Text(f"{refused}. Type it instead"))
            if self._at == "namespace" and (own := self._own.get(self._chosen["context"])):
                self._offer = _Offer([Choice(own, "of the context")])
        typed.placeholder = "0: any free one" if self._at == "local port" else "type to filter"
        if self._at == "context" and len(self._offer.choices) == 1:  # there is nothing to choose
            self._first = 1
            self._take(self._offer.choices[0].value)
            return
        if self._at == "local port":
            typed.value = self._offer.preferred
            typed.select_all()
        self._list()

    async def _offers(self) -> _Offer:
        context = self._chosen.get("context")
        context = None if context == self._default_context else context
        match self._at:
            case "context":
                found = await self._call("contexts")
                current = next((each["name"] for each in found if each["current"]), "")
                self._default_context = current
                self._own = {each["name"]: each["namespace"] for each in found}
                names = sorted((each["name"] for each in found), key=lambda name: name != current)
                notes = {current: "current"}
                return _Offer([Choice(name, notes.get(name, "")) for name in names])
            case "namespace":
                own = self._own.get(self._chosen["context"]) or "default"
                names = sorted(await self._call("namespaces", context=context), key=lambda name: (name != own, name))
                return _Offer([Choice(name, "of the context" if name == own else "") for name in names])
            case "target":
                found = await self._call("targets", context=context, namespace=self._chosen["namespace"])
                self._targets = {each["target"]: each["ports"] for each in found}
                return _Offer([Choice(name, _ports(ports)) for name, ports in self._targets.items()])
            case "port":
                ports = self._targets.get(self._chosen["target"], [])
                return _Offer([Choice(str(each["port"]), each["name"] or "") for each in ports])
            case "local port":
                port = self._chosen["port"]
                number = int(port) if port.isdecimal() else self._number_of(port)
                return _Offer(preferred=str(free_port(number) if number else 0))
        save = [Choice("start and add it to the file", self._file)] if self._file else []
        return _Offer([Choice("start"), *save])

    def _number_of(self, name: str) -> int:
        ports = self._targets.get(self._chosen["target"], [])
        return next((each["port"] for each in ports if each["name"] == name), 0)

    def _list(self) -> None:
        self._typed = self.query_one(Input).value
        words = self._typed.lower().split() if self._at != "local port" else []
        found = [each for each in self._offer.choices if all(word in each.value.lower() for word in words)]
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(
            [Option(Text.assemble((each.value, ""), (f"  {each.note}" if each.note else "", "dim"))) for each in found]
        )
        self._found = found
        options.highlighted = 0 if found else None

    def on_input_changed(self) -> None:
        self._list()

    def on_option_list_option_selected(self, chosen: OptionList.OptionSelected) -> None:
        self._take(self._found[chosen.option_index].value)

    def action_move(self, by: int) -> None:
        options = self.query_one(OptionList)
        if self._found:
            at = (options.highlighted or 0) + by
            options.highlighted = min(max(at, 0), len(self._found) - 1)

    def on_input_submitted(self) -> None:
        if self.query_one(Input).value != self._typed:  # it was typed faster than it was listed
            self._list()
        options, typed = self.query_one(OptionList), one_line(self.query_one(Input).value.strip())
        if self._found and options.highlighted is not None:
            self._take(self._found[options.highlighted].value)
        elif typed:
            self._take(typed)

    def _take(self, value: str) -> None:
        self._chosen[self._at] = value
        if self._at == "start":
            self.dismiss(Begun(self._params(), value != "start"))
            return
        if self._at == "local port" and not (value.isdecimal() and int(value) < 65536):
            self.query_one("#told", Static).update(Text(f"{value} is not a port: a number from 0 to 65535"))
            return
        self._step += 1
        self._ask()

    def _params(self) -> dict[str, Any]:
        chosen = self._chosen
        kind, _, name = chosen["target"].rpartition("/")
        port = chosen["port"]
        return {
            "resource_type": kind or "pod",
            "name": name,
            "namespace": chosen["namespace"],
            "context": None if chosen["context"] == self._default_context else chosen["context"],
            "local_port": int(chosen["local port"]),
            "remote_port": int(port) if port.isdecimal() else port,
        }

    def action_back(self) -> None:
        self._step -= 1
        if self._step < self._first:
            self.dismiss(None)
        else:
            self._ask()


def _ports(ports: list[dict[str, Any]]) -> str:
    return ", ".join(f"{each['port']}{' ' + each['name'] if each['name'] else ''}" for each in ports)
