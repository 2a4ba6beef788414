"""The verbs that tell all of something: describe and instances."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from kpf_supervise.control.client import Client, NoAnswer, Refused, about, running
from kpf_supervise.events.serialize import line
from kpf_supervise.kpfctl.group import connect, example, ids_to_show, main, no_headers_option
from kpf_supervise.kpfctl.ids import Words, resolve
from kpf_supervise.kpfctl.rendering import print_table, takes_all
from kpf_supervise.model import KUBECTL
from kpf_supervise.panel_state.cells import NOTHING, age, amount, declared_by, lease, local, where

_EVENTS = 10  # the last ones that are shown


@main.command(epilog=example("kpfctl describe web/http", "kpfctl describe 8080"))
@ids_to_show
def describe(words: Words) -> None:
    """Show everything about forwards: state and cause, pod, traffic, settings, kubectl's command, the last events."""
    with connect() as client:
        forwards = {each["id"]: each for each in client.call("portforward:list")}
        for number, id in enumerate(resolve(words, list(forwards.values()))):
            if number:
                click.echo()
            told = client.call("describe", id=id) | client.call("info")
            for shown in _described(forwards[id], told, client.call("logs", id=id)):
                click.echo(shown)


def _described(forward: dict[str, Any], told: dict[str, Any], log: list[dict[str, Any]]) -> Iterator[str]:
    since = age(time.time() - datetime.fromisoformat(forward["since"]).timestamp())
    due = f", attempt {forward['attempt']} of {forward['attempts'] or '∞'}" if forward["attempt"] else ""
    facts = {
        "State": f"{forward['state']} for {since}{due}",
        "Cause": forward["error"],
        "Next step": forward["nextStep"],
        "Local address": local(forward),
        "Target": f"{forward['target']}, port {forward['remote']}",
        "Pod": where(forward),
        "Namespace": forward["namespace"],
        "Context": forward["context"],
        "Declared": f"by {declared_by(forward, told['config'])}",
        "Lease": lease(forward, time.time()),
        "Connections": f"{forward['connections']}, and {forward['held']} held",
        "Traffic": f"{amount(forward['bytesIn'])} in, {amount(forward['bytesOut'])} out",
        "Restarts": str(forward["restarts"]),
        "kubectl": forward["command"],
    }
    yield forward["id"]
    for name, value in facts.items():
        if name != "Lease" or value:
            yield f"  {name + ':':<15}{value or NOTHING}"
    yield "  Settings:"
    for name, value in told["settings"].items():
        yield f"    {name}: {value if isinstance(value, str) else json.dumps(value)}"
    yield "  Events:"
    for event in [event for event in log if event["event"] != KUBECTL][-_EVENTS:]:
        yield f"    {line(event)}"


@main.command(epilog=example("kpfctl instances", "kpfctl instances -o json | jq .[].pid"))
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@no_headers_option
def instances(output: str, no_headers: bool) -> None:
    """List the running instances of kpf-supervise: those of this user, except with a socket at a path of its own."""
    found = list(map(_facts, running()))
    if output == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=not takes_all()))
        return
    rows = [[str(each["pid"] or NOTHING), _active(each), each["about"] or NOTHING, each["socket"]] for each in found]
    print_table(["PID", "ACTIVE", "CONFIG", "SOCKET"], rows, no_headers)


def _facts(path: Path) -> dict[str, Any]:
    """What the instance at this socket says of itself; its pid is None if it does not answer."""
    try:
        with Client(path, timeout=1) as client:
            forwards, info = client.call("portforward:list"), client.call("info")
    except (NoAnswer, Refused):
        return {**dict.fromkeys(("pid", "version", "config", "about", "forwards", "active")), "socket": str(path)}
    counts = {"forwards": len(forwards), "active": sum(each["active"] for each in forwards)}
    return {**info, "about": about(info, forwards), "socket": str(path), **counts}


def _active(facts: dict[str, Any]) -> str:
    return f"{facts['active']}/{facts['forwards']}" if facts["pid"] else "no answer"
