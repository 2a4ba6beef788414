"""What the user has started and stopped with kpfctl, kept for the next start. The configuration file is never written.

The state file is JSON, and says of each forward what the configuration file would: whatever it is found to hold is
checked by the same reader.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .config import parse
from .model import Forward
from .problems import ConfigError

_MARK = "kpf-supervise state"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Saved:
    started: tuple[Forward, ...] = ()  # beside the file
    stopped: Mapping[str, dict[str, Any]] = field(default_factory=dict)  # of the file: by id, with their options then

    def still_stopped(self, declared: Iterable[Forward]) -> set[str]:
        """Those of the file that the user has stopped, and whose options are what they were then."""
        found = set()
        for forward in declared:
            then, now = self.stopped.get(forward.id), options(forward)
            if then is not None and all(now[key] == value for key, value in then.items() if key in now):
                found.add(forward.id)
        return found


def options(forward: Forward) -> dict[str, Any]:
    """A forward as the configuration file would declare it."""
    reconnect = forward.reconnect
    said: dict[str, Any] = {
        "selector" if forward.target.kind == "selector" else "target": str(forward.target),
        "ports": f"{forward.local or ''}:{forward.remote}",
        "namespace": forward.namespace,
        "context": forward.cluster.context,
        "kubeconfig": str(forward.cluster.kubeconfig) if forward.cluster.kubeconfig else None,
        "address": forward.address,
        "hold": _seconds(forward.hold),
        "lazy": forward.lazy,
        "idle_timeout": "never" if forward.idle_timeout is None else _seconds(forward.idle_timeout),
        "children": forward.children,
        "protocol": forward.protocol,
        "notify": forward.notify,
        "reconnect": {
            "attempts": "unlimited" if reconnect.attempts is None else reconnect.attempts,
            "initial": _seconds(reconnect.initial),
            "max": _seconds(reconnect.max),
        },
        "enabled": forward.enabled,
    }
    return {key: value for key, value in said.items() if value is not None}


def _seconds(value: float) -> str:
    return f"{value:f}".rstrip("0").rstrip(".") + "s"


def save(path: Path, started: Iterable[Forward], stopped: Iterable[Forward]) -> None:
    """Atomically: a reader, or the next start after a crash, finds the old content or the new. Raises OSError."""
    state = {
        _MARK: _VERSION,
        "started": {forward.id: options(forward) for forward in started},
        "stopped": {forward.id: options(forward) for forward in stopped},
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(new, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump(state, file, indent=2, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def restore(path: Path, notice: Callable[[str], None]) -> Saved:
    """What was saved; all of it that is right. Where some of it is not, the file is set aside under another name, and
    `notice` told why."""
    wrong: list[str] = []
    started: list[Forward] = []
    stopped: dict[str, dict[str, Any]] = {}
    try:
        state = json.loads(path.read_bytes().decode())
        if not isinstance(state, dict) or state.get(_MARK) != _VERSION:
            raise ValueError(f'it does not say "{_MARK}": {_VERSION}')
        if not all(_is_options(state.get(part)) for part in ("started", "stopped")):
            raise ValueError('"started" and "stopped" must be objects of objects')
        stopped = state["stopped"]
        for name, said in state["started"].items():
            try:
                text = json.dumps({"forwards": {name: said}}, ensure_ascii=False)
                started += parse(text, str(path)).forwards
            except ConfigError as error:
                wrong += [f"{each.key}: {each.message}" for each in error.problems]
    except (FileNotFoundError, NotADirectoryError):
        return Saved()
    except (OSError, ValueError, RecursionError) as error:
        wrong.append(str(error))
    if wrong:
        free = _set_aside(path)
        fate = f"is set aside as {free}" if free else f"can't be set aside: {path}"
        notice(f"the saved state is not right, and {fate}: {'; '.join(wrong)}")
    return Saved(tuple(started), stopped)


def _is_options(part: Any) -> bool:
    return isinstance(part, dict) and all(isinstance(each, dict) for each in part.values())


def _set_aside(path: Path) -> Path | None:
    """Rename it to a name that is free; None where that is not possible, as then it can't be overwritten either."""
    number, free = 1, path.with_name(f"{path.name}.broken")
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}.broken-{number}")
    try:
        path.rename(free)
    except OSError:
        return None
    return free
