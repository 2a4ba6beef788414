"""What the user has started and stopped with kpfctl, kept for the next start. The configuration file is never written.

The state file is JSON. It describes each forward as the configuration file would, and the same reader checks it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kpf_supervise.config.errors import ConfigError
from kpf_supervise.config.options import written
from kpf_supervise.loading.file import read
from kpf_supervise.loading.loader import parse
from kpf_supervise.model import Forward
from kpf_supervise.text import shorten

_MARK = "kpf-supervise state"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class SavedState:
    started: tuple[Forward, ...] = ()  # not in the configuration file
    stopped: Mapping[str, dict[str, Any]] = field(default_factory=dict)  # by id, the options then, and who listed it


def save(path: Path, started: Iterable[Forward], stopped: Mapping[str, Mapping[str, Any]]) -> None:
    """Save atomically: a reader, or the next start after a crash, finds the old or the new content. Raises OSError."""
    _write(path, {forward.id: written(forward) for forward in started}, stopped)


def _write(path: Path, started: Mapping[str, Any], stopped: Mapping[str, Any], aside: Path | None = None) -> None:
    """Like `save`, but keeps the previous file as `aside`. The text is ASCII, so every value can be written."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(new, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump({_MARK: _VERSION, "started": started, "stopped": stopped}, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        if aside is not None:
            path.rename(aside)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def restore(path: Path, notice: Callable[[str], None]) -> SavedState:
    """The valid part of the saved state. If some of it is invalid, the file is renamed, a file with the valid part
    takes its place, and `notice` gets the reason. Never raises because of the file's content."""
    wrong: list[str] = []
    started: dict[str, tuple[Forward, ...]] = {}
    state: dict[str, Any] = {}
    try:
        found = json.loads(read(path)[0].decode())
        if not isinstance(found, dict) or found.get(_MARK) != _VERSION:
            raise ValueError(f'it does not say "{_MARK}": {_VERSION}')
        state = found
    except (FileNotFoundError, NotADirectoryError):
        return SavedState()
    except (OSError, ValueError, RecursionError) as error:
        wrong.append((error.strerror if isinstance(error, OSError) else None) or str(error))
    for name, said in _part(state, "started", wrong).items():
        try:
            text = json.dumps({"forwards": {name: said}}, ensure_ascii=False)
            started[name] = parse(text, str(path)).forwards
        except ConfigError as error:
            wrong += [f"{each.key or shorten(name)}: {each.message}" for each in error.problems]
    stopped = {}
    for name, said in _part(state, "stopped", wrong).items():
        if isinstance(said, dict) and name.isprintable():
            stopped[name] = said
        else:
            wrong.append(f"stopped.{shorten(name)}: not the options of a forward")
    if wrong:
        aside = _free(path)
        fate = f"is set aside as {aside}"
        try:
            _write(path, {name: state["started"][name] for name in started}, stopped, aside)
        except OSError as error:
            fate = f"can't be set aside: {path}: {error.strerror or error}"
        notice(f"the saved state is damaged, and {fate}: {'; '.join(wrong)}")
    return SavedState(tuple(forward for each in started.values() for forward in each), stopped)


def _part(state: dict[str, Any], name: str, wrong: list[str]) -> dict[str, Any]:
    """A part of the state, by forward name. If it is not an object: an empty one, and a message in `wrong`."""
    part = state.get(name)
    if isinstance(part, dict):
        return part
    if state:
        wrong.append(f'"{name}" must be an object')
    return {}


def _free(path: Path) -> Path:
    """An unused name in the same folder."""
    number, free = 1, path.with_name(f"{path.name}.broken")
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}.broken-{number}")
    return free
