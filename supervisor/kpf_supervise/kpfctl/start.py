"""The verb start."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kpf_supervise.config.errors import Mistake
from kpf_supervise.config.values import parse_children, parse_duration
from kpf_supervise.config.words import Port, forward_name, read_words
from kpf_supervise.control.client import Client, NoAnswer, Refused
from kpf_supervise.kpfctl.change import start_stopped, tell_missing, until_active
from kpf_supervise.kpfctl.group import (
    connect,
    example,
    group_option,
    keep_waiting_option,
    main,
    timeout_option,
)
from kpf_supervise.kpfctl.ids import Forwards, Words, meant
from kpf_supervise.model import FINAL, Cause, Target
from kpf_supervise.panel_state.cells import local
from kpf_supervise.shell_completion.completion import complete_contexts, complete_namespaces, complete_target_and_ports

_VERDICT = 3.0  # seconds to find out whether it can work at all; near by, a tenth of one is enough
_KNOWN = ("active", "idle", "waiting", "reconnecting", "failed")  # states that tell something about the target
_EXAMPLES = (
    "kpfctl start service/web 8081:http 9091:9090 -n shop --wait",
    "kpfctl start -l app=search 9200 --lazy",
    "kpfctl start web/http",
    "kpfctl start --group backend --wait",
)


@main.command(epilog=example(*_EXAMPLES))
@click.argument(
    "words",
    nargs=-1,
    metavar="TARGET [LOCAL:]REMOTE... | ID... | --group NAME",
    shell_complete=complete_target_and_ports,
)
@click.option("-l", "--selector", help="Instead of a TARGET: a label selector, as for kubectl -l.")
@click.option("-n", "--namespace", shell_complete=complete_namespaces, help="Default: the file's, else the context's.")
@click.option(
    "--context",
    shell_complete=complete_contexts,
    help="The kubeconfig's context. Default: the file's, else the current one.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Another kubeconfig than the file's. Its current context counts, unless --context names one.",
)
@click.option("--name", help="The forward's id; with several ports NAME-REMOTE. Default: the target's name.")
@click.option("--address", help='Where to listen: "localhost" (127.0.0.1 and ::1) or one IP address.')
@click.option("--hold", metavar="DURATION", help="How long a new connection waits for a pod. Default: the file's.")
@click.option("--children", metavar="N", help="How many kubectls share its connections. Default: the file's.")
@click.option("--lazy", is_flag=True, help="Start no kubectl before the first connection.")
@group_option
@click.option("--wait", is_flag=True, help="Return when they are active.")
@timeout_option
@keep_waiting_option
def start(
    words: Sequence[str],
    selector: str | None,
    name: str | None,
    groups: Sequence[str],
    wait: bool,
    timeout: float,
    keep_waiting: bool,
    **options: Any,
) -> None:
    """Start forwards in addition to those of the file, and print their ids. TARGET is written as in the file: pod/…,
    service/…, deployment/… and so on. Either all ports are forwarded, or none.

    What can't work, such as a service that does not exist or may not be read, is told at once and not started. With
    --keep-waiting, it is started all the same.

    With IDs or --group instead of a TARGET, start those of these forwards that are stopped, as they are declared.
    """
    if groups:
        if words or selector or name or any(options.values()):
            raise click.UsageError("--group starts forwards as they are declared: leave out all else but --wait.")
        start_stopped(Words(groups=groups), wait, timeout, keep_waiting)
        return
    try:
        what, pairs = _read(words, selector, options)
    except click.UsageError:
        if selector or name or any(options.values()) or not _are_ids(words):
            raise
        start_stopped(Words(words), wait, timeout, keep_waiting)
        return
    with connect() as client:
        ids = _start(client, what, pairs, name, options)
        missing: Forwards = []
        if wait:
            missing = until_active(client, ids, timeout, keep_waiting)
        elif not keep_waiting:
            missing = _hopeless(client, ids)
        if not missing and not keep_waiting:
            missing = _unreachable(client, what, pairs, ids, options)
        if not keep_waiting and any(each.get("final") for each in missing):
            tell_missing(missing)
            _stop(client, ids)
            click.echo("kpfctl: nothing was started. With --keep-waiting, it is started all the same", err=True)
            sys.exit(1)
        started = [each for each in client.call("portforward:list") if each["id"] in ids]
        for each in started:
            click.echo(each["id"])
            click.echo(f"{local(each)} → {each['target']}, port {each['remote']}", err=True)
        tell_missing([each for each in started if not each["active"] and each["state"] != "idle"])
        if missing:
            sys.exit(1)


def _read(words: Sequence[str], selector: str | None, options: dict[str, Any]) -> tuple[Target, list[Port]]:
    """The target and the ports, and `options` as the instance wants them. Raises click.UsageError."""
    if not words:
        missing = "Name a TARGET" if selector is None else "Name the port to forward"
        raise click.UsageError(f"{missing}, for example: {_EXAMPLES[selector is not None]}")
    try:
        what, pairs = read_words(words, selector, "kpfctl start")
        if options["hold"] is not None:
            parse_duration(options["hold"])
        if options["children"] is not None:
            options["children"] = parse_children(options["children"])
    except Mistake as mistake:
        raise click.UsageError(str(mistake)) from None
    if options["kubeconfig"] is not None:
        options["kubeconfig"] = str(options["kubeconfig"].absolute())
    options["lazy"] = options["lazy"] or None  # None: the file's default
    return what, pairs


def _are_ids(words: Sequence[str]) -> bool:
    """Whether each word means forwards that are listed."""
    try:
        with connect() as client:
            forwards = client.call("portforward:list")
    except (NoAnswer, Refused):
        return False
    return bool(words) and all(meant(word, forwards) for word in words)


def _start(client: Client, what: Target, pairs: list[Port], name: str | None, options: dict[str, Any]) -> list[str]:
    """Start one forward for each port, or none. Returns the ids. Raises Refused."""
    base = name or (forward_name(what.name) if len(pairs) > 1 else None)
    ids: list[str] = []
    try:
        for near, remote in pairs:
            place = {"resource_type": what.kind, "name": what.name, "local_port": near or 0, "remote_port": remote}
            id = f"{base}-{remote}" if len(pairs) > 1 else base
            ids.append(client.call("portforward:start", **place, **options, id=id))
    except Refused:
        _stop(client, ids)
        raise
    return ids


def _stop(client: Client, ids: Sequence[str]) -> None:
    for id in ids:
        client.call("portforward:stop", id=id)


def _hopeless(client: Client, ids: Sequence[str]) -> Forwards:
    """Those whose failure is final. Returns as soon as it is known of all of them whether they can work, but after
    _VERDICT seconds at the latest."""
    until = time.monotonic() + _VERDICT
    forwards = {each["id"]: each for each in client.call("subscribe") if each["id"] in ids}
    events = client.events(until)
    while not all(each["state"] in _KNOWN for each in forwards.values()):
        event = next(events, None)
        if event is None:
            break
        if event["portForward"] is not None and event["forward"] in forwards:
            forwards[event["forward"]] = event["portForward"]
    return [each for each in forwards.values() if each.get("final")]


def _unreachable(client: Client, what: Target, pairs: list[Port], ids: list[str], options: dict[str, Any]) -> Forwards:
    """A lazy forward reads its target with the first connection. So the cluster is asked now whether that can work."""
    if not any(each["lazy"] for each in client.call("portforward:list") if each["id"] in ids):
        return []
    place = {key: options[key] for key in ("namespace", "context", "kubeconfig")}
    failed = {"state": "failed", "final": True, "nextStep": None}
    try:
        with connect(timeout=_VERDICT) as other:
            found = other.call("ports", target=what.name if what.kind == "selector" else str(what), **place)
    except NoAnswer:
        return []
    except Refused as refused:
        of_the_pod = what.kind == "pod" and refused.cause == Cause.FORBIDDEN  # it may be forwarded to all the same
        final = refused.cause in FINAL and not of_the_pod
        return [failed | {"id": id, "error": str(refused)} for id in ids] if final else []
    known = {each["port"] for each in found} | {each["name"] for each in found}
    listed = ", ".join(f"{each['port']} ({each['name']})" if each["name"] else str(each["port"]) for each in found)
    return [
        failed | {"id": id, "error": f"{what} has no port {remote}", "nextStep": f"It has: {listed or 'none'}"}
        for id, (_, remote) in zip(ids, pairs, strict=True)
        if remote not in known and (what.kind == "service" or (isinstance(remote, str) and what.kind != "selector"))
    ]
