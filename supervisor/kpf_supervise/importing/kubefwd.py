"""kubefwd's command line: all services of namespaces. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kpf_supervise.importing.flags import read_flags
from kpf_supervise.importing.found import Entry, Found

_VALUES = {
    "namespace": "n",
    "selector": "l",
    "field-selector": "f",
    "kubeconfig": "c",
    "context": "x",
    "mapping": "m",
    "reserve": "r",
    "fwd-conf": "z",
    "domain": "d",
    "hosts-path": "",
    "timeout": "t",
    "resync-interval": "",
    "retry-interval": "",
}
_KEPT = ("namespace", "selector", "field-selector", "kubeconfig", "context")
_LETTERS = {"A": "all-namespaces", "a": "auto-reconnect", "v": "verbose", "b": "refresh-backup", "p": "purge-stale-ips"}
_OF_ITSELF = ("tui", "auto-reconnect", "verbose")  # what our program does anyway, or shows in its own way
_OF_HOSTS = ("refresh-backup", "purge-stale-ips", "hosts-path")
_NAMES = "the names in /etc/hosts: a service is reached by its address and port"


def read(found: Found, words: Sequence[str], where: str) -> None:
    """`words` are those after kubefwd."""
    flags = read_flags(words, _VALUES)
    if flags.arguments[:1] not in (["svc"], ["service"], ["services"]):
        found.lost.append((where, f"kubefwd without svc: {' '.join(words)}"))
        return
    switches = [_LETTERS.get(each, each) for each in flags.switches]
    told = {*_KEPT, *_OF_ITSELF, *_OF_HOSTS, "all-namespaces"}
    others = [each for each in (*flags.values, *switches) if each not in told]
    lost = [_NAMES] + ([", ".join(f"--{each}" for each in others)] if others else [])
    if "all-namespaces" in switches:
        found.lost.append((where, "--all-namespaces: name each namespace"))
        return
    for context in _each(flags.values.get("context", [])):
        for namespace in _each(flags.values.get("namespace", [])):
            entry = Entry(where=where, name="", lost=[*lost])
            given = {
                "namespace": namespace,
                "context": context,
                "kubeconfig": flags.values.get("kubeconfig", [""])[-1],
                "selector": ",".join(flags.values.get("selector", [])),
            }
            entry.options = {name: value for name, value in given.items() if value} | {"address": "each"}
            _fields(entry, flags.values.get("field-selector", []))
            found.services.append(entry)


def _each(values: Sequence[str]) -> list[str]:
    """Several may be in one value, with commas; one empty one if there is none."""
    return [part for value in values for part in value.split(",") if part] or [""]


def _fields(entry: Entry, selectors: Sequence[str]) -> None:
    """`metadata.name!=NAME` leaves a service out."""
    for part in _each(selectors):
        if excluded := re.fullmatch(r"metadata\.name!=(.+)", part):
            entry.options.setdefault("exclude", []).append(excluded[1])
        elif part:
            entry.lost.append(f"--field-selector={part}")
            entry.refused = "it chooses services by a field. Declare those that you need as forwards"
