"""The verbs that only show something: list, events, logs, env, panel."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from kpf_supervise.control.client import Client, NoAnswer
from kpf_supervise.events.serialize import line
from kpf_supervise.instance.environment import alike, exports
from kpf_supervise.instance.paths import has_terminal
from kpf_supervise.kpfctl.group import chosen_socket, complete_ids, connect, example, follow_option, main
from kpf_supervise.kpfctl.rendering import COLUMNS, WIDE, document, row, table, takes_all
from kpf_supervise.model import ADDED, KUBECTL, NOTICE, REMOVED


@main.command("list", epilog=example("kpfctl list -o wide"))
@click.option(
    "-o", "--output", type=click.Choice(["table", "wide", "json", "yaml", "name"]), default="table", show_default=True
)
@click.option("--watch", is_flag=True, help="Then print one line per change, until Ctrl-C; with json, an object.")
def list_(output: str, watch: bool) -> None:
    """List the forwards."""
    with connect() as client:
        forwards = client.call("subscribe" if watch else "portforward:list")
        wide = output == "wide"
        head = [*COLUMNS, *(WIDE if wide else ()), "ERROR"]
        rows = [row(each, time.time(), wide) for each in forwards]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        if output in ("table", "wide"):
            click.echo("\n".join(table([head, *rows], widths)))
        else:
            click.echo(document(output, forwards), nl=False)
        if not watch:
            return
        for event in client.events():
            forward = event["portForward"]
            if forward is None or event["event"] in (KUBECTL, NOTICE):
                if event["event"] == REMOVED:
                    click.echo(f"{event['forward']} is no longer listed", err=True)
            elif output in ("table", "wide"):
                click.echo(table([row(forward, time.time(), wide)], widths)[0])
            else:
                click.echo(document(output, [forward]), nl=False)


@main.command(epilog=example("kpfctl events --follow -o json | jq .message"))
@follow_option
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def events(follow: bool, output: str) -> None:
    """Show the latest events of all forwards."""
    with connect() as client:
        _tell(client, "events", follow, output, lambda event: event["event"] not in (KUBECTL, ADDED, REMOVED))


@main.command(epilog=example("kpfctl logs web/http --follow"))
@click.argument("id", shell_complete=complete_ids)
@follow_option
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def logs(id: str, follow: bool, output: str) -> None:
    """Show the latest events of one forward, with the lines that its kubectl wrote."""
    with connect() as client:
        _tell(client, "logs", follow, output, lambda event: event.get("forward") == id, id=id)


def _tell(client: Client, method: str, follow: bool, output: str, wanted: Callable[[Any], bool], **params: Any) -> None:
    """Print the events that the instance has kept and, with `follow`, the new ones."""

    def show(event: dict[str, Any]) -> None:
        event.pop("portForward", None)
        click.echo(json.dumps(event, ensure_ascii=not takes_all()) if output == "json" else line(event))

    if follow:
        client.call("subscribe")
    kept = client.call(method, **params)
    for event in filter(wanted, kept):
        show(event)
    if follow:  # events between the two calls come twice
        known = {(event["time"], event["message"]) for event in kept}
        for event in filter(wanted, client.events()):
            if (event["time"], event["message"]) not in known:
                show(event)


@main.command(epilog=example('eval "$(kpfctl env)"; curl "$KPF_WEB_HTTP_ADDR"'))
def env() -> None:
    """Print shell commands that set the addresses of forwards: KPF_<NAME>_HOST, _PORT and _ADDR of every forward that
    listens."""
    with connect() as client:
        listening = [each for each in client.call("portforward:list") if each["listening"]]
    if pair := alike(each["id"] for each in listening):
        click.echo(f"kpfctl: {pair[0]} and {pair[1]} have the same variables; those of the last one are used", err=True)
    for each in listening:
        for command in exports(each["id"], each["address"], each["localPort"]):
            click.echo(command)


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
        raise click.UsageError("The panel needs a terminal. See: kpfctl list --watch")
    from kpf_supervise.panel.__main__ import show
    from kpf_supervise.panel.ending import ENDED

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
