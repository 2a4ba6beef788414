"""What the shell completes: ids from the instance, and contexts, namespaces, targets and ports from the cluster, which
the instance asks. If nobody answers in time, nothing is completed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from kpf_supervise.config.target_kinds import KINDS
from kpf_supervise.control.client import Client, NoAnswer, Refused, about, find, running

_PATIENCE = 3.0  # seconds for an answer: somebody has pressed Tab, and waits
_CONVENIENT = 1024  # the first local port that needs no root; 80 is proposed as 8080, 443 as 8443

Items = list[CompletionItem]


def chosen_socket(context: click.Context) -> Path:
    """The control socket of the instance that the options select. Raises NoAnswer."""
    given = context.find_root().params
    return find(given.get("socket"), given.get("file"))


def _ask(context: click.Context, method: str, **params: Any) -> Any:
    """The instance's answer; an empty one if there is none. The cluster is the one that the options name."""
    place = {key: context.params.get(key) for key in ("namespace", "context", "kubeconfig")}
    place["kubeconfig"] = str(place["kubeconfig"]) if place["kubeconfig"] else None
    known = {"contexts": ("kubeconfig",), "namespaces": ("context", "kubeconfig"), "portforward:list": (), "logins": ()}
    params |= {key: value for key, value in place.items() if key in known.get(method, place)}
    try:
        with Client(chosen_socket(context), timeout=_PATIENCE) as client:
            return client.call(method, **params)
    except (NoAnswer, Refused):
        return []


def beginning(items: Iterable[tuple[str, str]], incomplete: str) -> Items:
    return [CompletionItem(value, help=help) for value, help in items if value.startswith(incomplete)]


def complete_sockets(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Those of the running instances, with what they forward; else any file."""
    found: list[tuple[str, str]] = []
    with suppress(NoAnswer):
        for path in running():
            with suppress(NoAnswer, Refused), Client(path, timeout=1) as client:
                found.append((str(path), about(client.call("info"), client.call("portforward:list"))))
    return beginning(found, incomplete) or [CompletionItem(incomplete, type="file")]


def complete_ids(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """The ids, and the names that mean several of them."""
    forwards = _ask(context, "portforward:list")
    given = context.params.get("ids") or ()
    ids = {each["id"]: each["state"] for each in forwards if each["id"] not in given}
    names = Counter(id.partition("/")[0] for id in ids)
    groups = {name: f"all {count} ports" for name, count in names.items() if name not in ids and count > 1}
    return beginning((ids | groups).items(), incomplete)


def complete_groups(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """With how many forwards each has."""
    counts = Counter(group for each in _ask(context, "portforward:list") for group in each["groups"])
    found = {group: f"{count} forward{'s' if count > 1 else ''}" for group, count in sorted(counts.items())}
    return beginning(found.items(), incomplete)


def complete_logins(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """The contexts whose user signs in."""
    return beginning([(each["context"], each["plugin"]) for each in _ask(context, "logins")], incomplete)


def complete_contexts(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    return contexts(_ask(context, "contexts"), incomplete)


def complete_namespaces(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    return beginning([(name, "") for name in _ask(context, "namespaces")], incomplete)


def complete_target_and_ports(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """The first word is the target, unless there is a selector; then ports follow."""
    words: list[str] = list(context.params.get("words") or ())
    if selector := context.params.get("selector"):
        words.insert(0, selector)
    if words:
        target = words[0]
        return beginning(ports(_ask(context, "ports", target=target), target, incomplete), incomplete)
    return beginning(targets(_ask(context, "targets"), incomplete), incomplete)


def contexts(found: list[dict[str, Any]], incomplete: str) -> Items:
    return beginning([(each["name"], "current" if each["current"] else "") for each in found], incomplete)


def targets(found: list[dict[str, Any]], incomplete: str) -> Iterable[tuple[str, str]]:
    """With the kind as it was typed: svc/ is completed to svc/web. Pods, which are many, come once their kind was
    begun."""
    typed, slash, _ = incomplete.partition("/")
    for each in found:
        kind, _, name = each["target"].partition("/")
        if kind == "pod" and not incomplete:
            continue
        shown = typed if slash and KINDS.get(typed.lower()) == kind else kind
        yield f"{shown}/{name}", ", ".join(port["name"] or str(port["port"]) for port in each["ports"])


def ports(found: list[dict[str, Any]], target: str, incomplete: str) -> Iterable[tuple[str, str]]:
    """LOCAL:REMOTE with a local port that needs no root, and :REMOTE for any free one. A local port that was typed is
    kept."""
    typed, colon, _ = incomplete.partition(":")
    for each in found:
        number, name = each["port"], each["name"]
        near = number if number >= _CONVENIENT else 8000 + number
        help = f"port {number} of {target}"
        for local in [typed] if colon else [str(near), ""]:
            yield f"{local}:{name or number}", help
        if colon and name:
            yield f"{typed}:{number}", help
