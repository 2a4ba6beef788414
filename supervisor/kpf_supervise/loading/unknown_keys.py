"""What to say of a key of the file that is not known where it stands. Pure."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from kpf_supervise.config.errors import Mistake
from kpf_supervise.config.schema import DEFAULTS, FORWARD, PROXY, RECONNECT, SERVICES, TOP
from kpf_supervise.config.target_kinds import KINDS
from kpf_supervise.loading.yaml_nodes import Item
from kpf_supervise.loading.yaml_nodes import kind as kind_of
from kpf_supervise.text import quote, shorten


def unknown_key(key: str, known: Collection[str], entry: Item) -> tuple[Mistake, str, Item]:
    """The message for a key that is not `known`: where it belongs, or which key was probably meant; that key, "" if
    none is clear; and its entry."""
    homes = {
        "under reconnect": RECONNECT,
        "under a forward or defaults": DEFAULTS,
        "under a forward": FORWARD,
        "at the top of the file": TOP,
        "under services": SERVICES,
    }
    for home, keys in homes.items():
        if key in keys:
            return Mistake(f"{key} has no place here", f"It belongs {home}."), "", entry
    if "target" in known and (kind := KINDS.get(key.lower())):
        return _target_as_key(key, kind, entry)
    if key == "name" and "target" in known:
        fix = "The key above is the forward's name; name belongs to the entries of a list."
        return Mistake("name has no place here", fix), "", entry
    near = get_close_matches(key, known, 1)
    if not near and key in PROXY:
        return Mistake(f"{key} has no place here", "It belongs under proxy."), "", entry
    fix = f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(known)}."
    return Mistake(f"unknown key {quote(key)}", fix), near[0] if near else "", entry


def _target_as_key(key: str, kind: str, entry: Item) -> tuple[Mistake, str, Item]:
    """`service: web`, as in the configuration of other tools."""
    single = kind_of(entry.node) == "a single value"
    target = f"{kind}/{entry.node.value.rpartition('/')[2] if single else 'NAME'}"
    mistake = Mistake(f"unknown key {quote(key)}", f"Did you mean target: {shorten(target)}?")
    return mistake, "target", entry.reading(target) if single else entry
