"""What the parts of the configuration file need of its reader. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import Any, Protocol

from kpf_supervise.config.errors import FileMistake, Mistake
from kpf_supervise.loading.yaml_nodes import Item

BAD: Any = object()  # replaces a value already reported as wrong, so that no further checks use it


class Reader(Protocol):
    """Collects the mistakes in `problems`; see `loader`."""

    problems: list[FileMistake]

    def noting(self, place: Callable[[Mistake], FileMistake]) -> AbstractContextManager[None]: ...
    def group(self, item: Item, known: Collection[str] | None, fix: str) -> dict[str, Item]: ...
    def elements(self, item: Item | None) -> list[Item]: ...
    def read(self, item: Item, parse: Callable[[str], Any]) -> Any: ...
    def options(self, group: dict[str, Item], base: dict[str, Any]) -> dict[str, Any]: ...
    def claim(self, item: Item, local: int, address: str) -> None: ...
