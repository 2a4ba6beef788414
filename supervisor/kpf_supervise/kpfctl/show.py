"""The verbs that only show something: list, events, logs, panel."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from kpf_supervise.control.client import Client, NoAnswer
from kpf_supervise.events.serialize import line
from kpf_supervise.kpfctl.group import (
    any_ids,
    connect,
    example,
    follow_option,
    ids_to_show,
    main,
    no_headers_option,
)
from kpf_supervise.kpfctl.ids import Words, resolve, selected
from kpf_supervise.kpfctl.rendering import COLUMNS, WIDE, document, print_table, row, table, takes_all
from kpf_supervise.model import ADDED, KUBECTL, NOTICE, REMOVED
from kpf_supervise.runtime.paths import has_terminal
from kpf_supervise.shell_completion.completion import chosen_socket

_LIST = ("kpfctl list -o wide", "kpfctl ls 'web/*' --no-headers", "kpfctl list --group backend", "kpfctl list -w")


@main.command("list", epilog=example(*_LIST))
@any_ids
@click.option(
    "-o", "--output", type=click.Choice(["table", "wide", "json", "yaml", "name"]), default="table", show_default=True
)
@click.option("-w", "--watch", is_flag=True, help="Then print one line per change, until Ctrl-C; with json, an object.")
@no_headers_option
def list_(words: Words, output: str, watch: bool, no_headers: bool) -> None:
    """List the forwards: all of them, or those with an ID. `ls` is short for it."""
    with connect() as client:
        forwards = selected(words, client.call("subscribe" if watch else "portforward:list"))
        wide, widths = output == "wide", []
        if output in ("table", "wide"):
            head = [*COLUMNS, *(WIDE if wide else ()), "ERROR"]
            widths = print_table(head, [row(each, time.time(), wide) for each in forwards], no_headers)
        else:
            click.echo(document(output, forwards), nl=False)
        if not watch:
            return
        known = {each["id"] for each in forwards}
        for event in client.events():
            forward, id = event["portForward"], event.get("forward")
            if words and id not in known and not (forward and words.mean(forward)):
                continue
            if forward is None or event["event"] in (KUBECTL, NOTICE):
                if event["event"] == REMOVED:
                    click.echo(f"{id} is no longer listed", err=True)
            elif output in ("table", "wide"):
                click.echo(table([row(forward, time.time(), wide)], widths)[0])
            elif output == "json":
                click.echo(json.dumps(forward, ensure_ascii=not takes_all()))
            else:
                click.echo(document(output, [forward]), nl=False)


main.add_command(list_, "ls")


@main.command(epilog=example("kpfctl events -f -o json | jq .message"))
@follow_option
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def events(follow: bool, output: str) -> None:
    """Show the latest events of all forwards."""
    with connect() as client:
        _tell(client, [("events", {})], follow, output, lambda event: event["event"] not in (KUBECTL, ADDED, REMOVED))


@main.command(epilog=example("kpfctl logs web/http -f", "kpfctl logs 'web/*' -o json"))
@ids_to_show
@follow_option
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def logs(words: Words, follow: bool, output: str) -> None:
    """Show the latest events of forwards, with the lines that their kubectls wrote."""
    with connect() as client:
        meant = resolve(words, client.call("portforward:list"))
        _tell(
            client, [("logs", {"id": id}) for id in meant], follow, output, lambda event: event.get("forward") in meant
        )


def _tell(
    client: Client,
    calls: Sequence[tuple[str, dict[str, str]]],
    follow: bool,
    output: str,
    wanted: Callable[[dict[str, Any]], bool],
) -> None:
    """Print the events that the instance has kept and, with `follow`, the new ones."""

    def show(event: dict[str, Any]) -> None:
        event.pop("portForward", None)
        click.echo(json.dumps(event, ensure_ascii=not takes_all()) if output == "json" else line(event))

    if follow:
        client.call("subscribe")
    kept = [event for method, params in calls for event in client.call(method, **params)]
    kept.sort(key=lambda event: event["time"])
    for event in filter(wanted, kept):
        show(event)
    if follow:  # events between the two calls come twice
        known = {_mark(event) for event in kept}
        for event in filter(wanted, client.events()):
            if _mark(event) not in known:
                show(event)


def _mark(event: dict[str, Any]) -> tuple[Any, ...]:
    return event["time"], event.get("forward"), event["message"]


@main.command(epilog=example("kpfctl panel"))
@click.option(
    "--web",
    is_flag=False,
    flag_value="0",
    type=click.IntRange(0, 65535),
    metavar="[PORT]",
    help="Serve it to a browser on this machine, and print the address. Default: any free port.",
)
@click.pass_context
def panel(context: click.Context, web: int | None) -> None:
    """Show the panel of the instance. Closing it leaves the instance running."""
    path = chosen_socket(context)
    if web is not None:
        _serve_panel(path, web)
        return
    if not has_terminal():
        raise click.UsageError("The panel needs a terminal. See: kpfctl list -w")
    from kpf_supervise.panel.__main__ import show
    from kpf_supervise.panel_state.ending import ENDED

    try:
        code, trouble = show(path, own=False)
    except ImportError as error:
        raise NoAnswer(f"the panel needs the library Textual: {error}. See: kpfctl list --watch") from None
    if code == ENDED:
        raise NoAnswer(f"{path}: {trouble}" if trouble else "the instance has ended")
    sys.exit(code)


def _serve_panel(path: Path, port: int) -> None:
    with Client(path) as client:
        client.call("info")  # before anything is served
    try:
        from kpf_supervise.panel.web import serve
    except ImportError as error:
        raise NoAnswer(f"--web needs the extra [web] ({error}). Install it: uv tool install '.[web]'") from None
    try:
        serve(path, port, lambda address: click.echo(f"{address}\nCtrl-C ends it. Only who has the address gets in."))
    except OSError as error:
        raise NoAnswer(f"port {port}: {error.strerror or error}") from None
