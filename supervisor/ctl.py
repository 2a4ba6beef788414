"""The command kpfctl: steers a running instance over its control socket."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from .client import Client, NoAnswer, Refused, find
from .methods import no_such_forward
from .model import ADDED, KUBECTL, NOTICE, REMOVED
from .notation import parse_duration, parse_port, parse_target
from .place import has_terminal
from .problems import Mistake
from .tables import COLUMNS, WIDE, local, row, table
from .variables import alike, exports
from .wire import line

Forwards = list[dict[str, Any]]
_LONGEST_END = 30.0  # seconds


class _Program(click.Group):
    """Says what went wrong in one sentence: exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (NoAnswer, Refused) as error:
            click.echo(f"kpfctl: {error}", err=True)
            sys.exit(1)


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--socket", type=click.Path(path_type=Path), metavar="PATH", help="The instance with this control socket."
)
@click.option("-f", "--file", type=click.Path(path_type=Path), metavar="CONFIG", help="The instance of this file.")
@click.version_option(None, "-V", "--version", package_name="kpf-supervise", prog_name="kpfctl")
@click.pass_context
def main(context: click.Context, socket: Path | None, file: Path | None) -> None:
    """Steer a running kpf-supervise.

    Where just one instance runs, it is found by itself. Without --socket and -f, the environment variable KPF_SOCKET
    names the control socket; kpf-supervise sets it for its COMMAND.

    Exit codes: 0 done; 1 it failed; 2 usage.
    """
    if socket is not None and file is not None:
        raise click.UsageError("--socket and -f both name an instance. Use one of them.")


def _client() -> Client:
    given = click.get_current_context().find_root().params
    return Client(find(given.get("socket"), given.get("file")))


def _ids(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    given = context.find_root().params
    try:
        with Client(find(given.get("socket"), given.get("file")), timeout=1) as client:
            forwards = client.call("portforward:list")
    except (NoAnswer, Refused):
        return []
    return [CompletionItem(each["id"], help=each["state"]) for each in forwards if each["id"].startswith(incomplete)]


def _duration(context: click.Context, parameter: click.Parameter, value: str) -> float:
    try:
        return parse_duration(f"{value}s" if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) else value)
    except Mistake as mistake:
        raise click.BadParameter(str(mistake)) from None


_timeout = click.option(
    "--timeout",
    default="30s",
    show_default=True,
    callback=_duration,
    metavar="DURATION",
    help="How long it waits: 30, 30s, 500ms, 1m30s.",
)
_keep_waiting = click.option(
    "--keep-waiting", is_flag=True, help="Wait on for one that has failed and does not come back by itself."
)
_any = click.argument("ids", nargs=-1, metavar="[ID...]", shell_complete=_ids)
_some = click.argument("ids", nargs=-1, metavar="ID... | --all", shell_complete=_ids)
_all = click.option("--all", "every", is_flag=True, help="All of them.")
_follow = click.option("--follow", is_flag=True, help="Go on with what is told from now on, until Ctrl-C.")


def _example(text: str) -> str:
    return f"\b\nExample:\n  {text}"


@main.command("list", epilog=_example("kpfctl list -o wide"))
@click.option(
    "-o", "--output", type=click.Choice(["table", "wide", "json", "yaml", "name"]), default="table", show_default=True
)
@click.option("--watch", is_flag=True, help="Go on with a line for each change, until Ctrl-C; with json an object.")
def list_(output: str, watch: bool) -> None:
    """List the forwards."""
    with _client() as client:
        forwards = client.call("subscribe" if watch else "portforward:list")
        wide = output == "wide"
        head = [*COLUMNS, *(WIDE if wide else ()), "ERROR"]
        rows = [row(each, time.time(), wide) for each in forwards]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        if output in ("table", "wide"):
            click.echo("\n".join(table([head, *rows], widths)))
        else:
            click.echo(_document(output, forwards), nl=False)
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
                click.echo(_document(output, [forward]), nl=False)


def _document(output: str, forwards: Forwards) -> str:
    if output == "json":
        return json.dumps(forwards, indent=2, ensure_ascii=not _takes_all()) + "\n"
    if output == "name":
        return "".join(f"{each['id']}\n" for each in forwards)
    import yaml

    return yaml.safe_dump(forwards, sort_keys=False, allow_unicode=_takes_all(), explicit_start=True)


def _takes_all() -> bool:
    """Whether stdout takes every character; if not, JSON and YAML have their own ways to write the others."""
    return sys.stdout.encoding.lower().startswith("utf")


@main.command(epilog=_example("kpfctl start service/web 8080:http 9090 -n shop --wait"))
@click.argument("target")
@click.argument("ports", nargs=-1, required=True, metavar="[LOCAL:]REMOTE...")
@click.option("-n", "--namespace", help="Default: the file's, else the context's.")
@click.option("--context", help="The kubeconfig's context. Default: the file's, else the current one.")
@click.option("--name", help="The forward's id; with several ports NAME-REMOTE. Default: the target's name.")
@click.option("--address", help='Where to listen: "localhost" (127.0.0.1 and ::1) or one IP address.')
@click.option("--lazy", is_flag=True, help="Open no tunnel until the first connection.")
@click.option("--wait", is_flag=True, help="Return when it is active.")
@_timeout
@_keep_waiting
def start(
    target: str,
    ports: Sequence[str],
    namespace: str | None,
    context: str | None,
    name: str | None,
    address: str | None,
    lazy: bool,
    wait: bool,
    timeout: float,
    keep_waiting: bool,
) -> None:
    """Start forwards beside the file's, and print their ids. TARGET is as in the file: pod/…, service/…,
    deployment/… and so on. All of the ports, or none."""
    try:
        what = parse_target(target)
        pairs = [parse_port(port, of_service=what.kind == "service") for port in ports]
    except Mistake as mistake:
        raise click.UsageError(str(mistake)) from None
    base = name or (what.name if len(pairs) > 1 else None)
    ids: list[str] = []
    with _client() as client:
        try:
            for near, remote in pairs:
                ids.append(
                    client.call(
                        "portforward:start",
                        resource_type=what.kind,
                        name=what.name,
                        namespace=namespace,
                        local_port=near or 0,
                        remote_port=remote,
                        context=context,
                        address=address,
                        lazy=lazy or None,  # the file's default, unless it is said
                        id=f"{base}-{remote}" if len(pairs) > 1 else base,
                    )
                )
        except Refused:
            for id in ids:
                client.call("portforward:stop", id=id)
            raise
        for each in client.call("portforward:list"):
            if each["id"] in ids:
                click.echo(each["id"])
                click.echo(f"{local(each)} → {each['target']}, port {each['remote']}", err=True)
        if wait:
            _wait(client, ids, timeout, keep_waiting)


@main.command(epilog=_example("kpfctl stop web/http"))
@_some
@_all
def stop(ids: Sequence[str], every: bool) -> None:
    """Stop forwards and release their local ports. Those that the file declares stay listed as stopped. Where one of
    the ids is wrong, none is stopped."""
    _check_ids(ids, every)
    with _client() as client:
        if every:
            client.call("stop_all")
        for id in _known(ids, client.call("portforward:list")):
            client.call("portforward:stop", id=id)


@main.command(epilog=_example("kpfctl restart web/http"))
@_some
@_all
def restart(ids: Sequence[str], every: bool) -> None:
    """Give forwards a fresh kubectl, or start those that were stopped. The local port stays: connections that come
    meanwhile are held. Where one of the ids is wrong, none is restarted."""
    _check_ids(ids, every)
    with _client() as client:
        forwards = client.call("portforward:list")
        for id in [each["id"] for each in forwards] if every else _known(ids, forwards):
            client.call("restart", id=id)


def _check_ids(ids: Sequence[str], every: bool) -> None:
    if ids and every:
        raise click.UsageError(f"--all means every forward. Leave out {' '.join(ids)}, or --all.")
    if not ids and not every:
        raise click.UsageError("Name the forwards, or say --all.")


def _known(ids: Sequence[str], forwards: Forwards) -> list[str]:
    """Each of the ids once. Raises Refused, which names those that no forward has."""
    known = [each["id"] for each in forwards]
    if wrong := [no_such_forward(id, known) for id in ids if id not in known]:
        raise Refused("\n".join(wrong))
    return list(dict.fromkeys(ids))


@main.command(epilog=_example("kpfctl wait web/http db --timeout 1m"))
@_any
@_timeout
@_keep_waiting
def wait(ids: Sequence[str], timeout: float, keep_waiting: bool) -> None:
    """Return when the forwards are active: these, or all that are not stopped. A lazy one may be idle. At the timeout,
    or as soon as one has failed and does not come back by itself, say which are not and why, and exit with 1."""
    with _client() as client:
        _wait(client, ids, timeout, keep_waiting)


def _wait(client: Client, ids: Sequence[str], timeout: float, keep_waiting: bool) -> None:
    until = time.monotonic() + timeout
    forwards = {each["id"]: each for each in client.call("subscribe")}
    _known(ids, list(forwards.values()))
    events = client.events(until)
    while missing := [each for each in forwards.values() if _is_missing(each, ids)]:
        hopeless = [] if keep_waiting else [each for each in missing if each.get("final")]
        event = next(events, None) if not hopeless else None
        if event is None:
            for each in hopeless or missing:
                click.echo(f"{each['id']} is {each['state']}: {_why(each)}", err=True)
            if hopeless:
                click.echo("kpfctl: not waited for any longer; --keep-waiting does, until the timeout", err=True)
            sys.exit(1)
        if event["portForward"] is not None:
            forwards[event["forward"]] = event["portForward"]
        else:
            forwards.pop(event.get("forward", ""), None)


def _why(forward: dict[str, Any]) -> str:
    """Why it is not active, and the next step where there is one."""
    return ". ".join(filter(None, (forward["error"], forward["nextStep"]))) or "no answer yet"


def _is_missing(forward: dict[str, Any], ids: Sequence[str]) -> bool:
    if forward["active"] or forward["state"] == "idle":
        return False
    return forward["id"] in ids if ids else forward["listening"] or forward["state"] == "failed"


@main.command(epilog=_example("kpfctl events --follow -o json | jq .message"))
@_follow
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def events(follow: bool, output: str) -> None:
    """Show what has happened of late."""
    with _client() as client:
        _tell(client, "events", follow, output, lambda event: event["event"] not in (KUBECTL, ADDED, REMOVED))


@main.command(epilog=_example("kpfctl logs web/http --follow"))
@click.argument("id", shell_complete=_ids)
@_follow
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def logs(id: str, follow: bool, output: str) -> None:
    """Show what one forward has been through, and what its kubectl has written."""
    with _client() as client:
        _tell(client, "logs", follow, output, lambda event: event.get("forward") == id, id=id)


def _tell(client: Client, method: str, follow: bool, output: str, wanted: Callable[[Any], bool], **params: Any) -> None:
    """Print events: those that the instance has kept, and where asked for those that follow."""

    def show(event: dict[str, Any]) -> None:
        event.pop("portForward", None)
        click.echo(json.dumps(event, ensure_ascii=not _takes_all()) if output == "json" else line(event))

    if follow:
        client.call("subscribe")
    kept = client.call(method, **params)
    for event in filter(wanted, kept):
        show(event)
    if follow:  # what came between the two calls is in both answers
        known = {(event["time"], event["message"]) for event in kept}
        for event in filter(wanted, client.events()):
            if (event["time"], event["message"]) not in known:
                show(event)


@main.command(epilog=_example('eval "$(kpfctl env)"; curl "$KPF_WEB_HTTP_ADDR"'))
def env() -> None:
    """Print shell commands that set KPF_<NAME>_HOST, _PORT and _ADDR of every forward that listens."""
    with _client() as client:
        listening = [each for each in client.call("portforward:list") if each["listening"]]
    if pair := alike(each["id"] for each in listening):
        click.echo(f"kpfctl: {pair[0]} and {pair[1]} share their variables; the last one counts", err=True)
    for each in listening:
        for command in exports(each["id"], each["address"], each["localPort"]):
            click.echo(command)


@main.command(epilog=_example("kpfctl panel"))
def panel() -> None:
    """Show the panel of the instance; to close it leaves the instance running."""
    given = click.get_current_context().find_root().params
    path = find(given.get("socket"), given.get("file"))
    if not has_terminal():
        raise click.UsageError("The panel needs a terminal. See: kpfctl list --watch")
    import trio

    from .panel import show_remote

    try:
        if not trio.run(show_remote, path):
            click.echo("kpfctl: the instance has ended", err=True)
    except OSError as error:
        raise NoAnswer(f"{path}: {error.strerror or error}") from None


@main.command(epilog=_example("kpfctl reload"))
def reload() -> None:
    """Apply the configuration file now. A wrong one changes nothing, and is explained."""
    with _client() as client:
        client.call("reload")


@main.command(epilog=_example("kpfctl shutdown"))
def shutdown() -> None:
    """Stop all forwards and end the instance; return when it has ended."""
    with _client() as client:
        client.call("shutdown")
        if not client.until_end(_LONGEST_END):
            raise NoAnswer(f"the instance has not ended within {_LONGEST_END:g} s")


@main.command(epilog=_example('eval "$(kpfctl completion bash)"'))
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes the shell complete verbs, options and the names of forwards."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "kpfctl", "_KPFCTL_COMPLETE").source())


def program() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # to end a --follow is no failure to be told
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # Latin-1, say, has no arrows: a question mark is no failure either
    main(prog_name="kpfctl")


if __name__ == "__main__":
    program()
