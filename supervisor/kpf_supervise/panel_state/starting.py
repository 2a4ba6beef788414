"""The parameters of `portforward:start` for a forward that was chosen, or was there before. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from kpf_supervise.panel_state.state import Forward

_LONGEST = 40  # characters of a target's name


def free_name(params: dict[str, Any], known: Iterable[str]) -> str | None:
    """A name for a new forward that neither a forward nor the file has; None if its target's name is free."""
    names = {id.partition("/")[0] for id in known}
    base = "".join(char if char.isalnum() or char in "._-" else "-" for char in params["name"]).strip("-._")[:_LONGEST]
    if base not in names:
        return None
    numbered = (f"{base}-{each}" for each in itertools.chain([params["remote_port"]], itertools.count(2)))
    return next(name for name in numbered if name not in names)


def again(forward: Forward, described: dict[str, Any]) -> dict[str, Any]:
    """Those that start a forward again which is no longer listed. `described` is the answer of `describe`."""
    own = {name: described["settings"].get(name) for name in described["own"]}
    return {
        "id": forward["id"],
        "resource_type": forward["resourceType"],
        "name": forward["name"],
        "namespace": forward["namespace"] or None,
        "context": forward["context"],
        "local_port": forward["localPort"],
        "remote_port": int(forward["remote"]) if forward["remote"].isdecimal() else forward["remote"],
        "address": forward["address"],
        "lazy": forward["lazy"],
        **{name: own.get(name) for name in ("kubeconfig", "hold", "children")},
    }
