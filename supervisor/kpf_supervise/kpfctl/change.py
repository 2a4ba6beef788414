"""The verbs that change something: start, stop, restart, wait, reload, shutdown."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import click

from kpf_supervise.config.errors import Mistake
from kpf_supervise.config.values import parse_port, parse_target
from kpf_supervise.control.client import Client, NoAnswer, Refused
from kpf_supervise.control.methods import no_such_forward
from kpf_supervise.kpfctl.group import (
    all_option,
    any_ids,
    connect,
    example,
    keep_waiting_option,
    main,
    some_ids,
    timeout_option,
)
from kpf_supervise.kpfctl.rendering import Forwards
from kpf_supervise.panel.cells import local, reason

_LONGEST_END = 30.0  # seconds


@main.command(epilog=example("kpfctl start service/web 8081:http 9091:9090 -n shop --wait"))
@click.argument("target")
@click.argument("ports", nargs=-1, required=True, metavar="[LOCAL:]REMOTE...")
@click.option("-n", "--namespace", help="Default: the file's, else the context's.")
@click.option("--context", help="The kubeconfig's context. Default: the file's, else the current one.")
@click.option("--name", help="The forward's id; with several ports NAME-REMOTE. Default: the target's name.")
@click.option("--address", help='Where to listen: "localhost" (127.0.0.1 and ::1) or one IP address.')
@click.option("--lazy", is_flag=True, help="Start no kubectl before the first connection.")
@click.option("--wait", is_flag=True, help="Return when they are active.")
@timeout_option
@keep_waiting_option
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
    """Start forwards in addition to those of the file, and print their ids. TARGET is written as in the file: pod/…,
    service/…, deployment/… and so on. Either all ports are forwarded, or none."""
    try:
        what = parse_target(target)
        pairs = [parse_port(port, of_service=what.kind == "service") for port in ports]
    except Mistake as mistake:
        raise click.UsageError(str(mistake)) from None
    base = name or (what.name if len(pairs) > 1 else None)
    ids: list[str] = []
    with connect() as client:
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
                        lazy=lazy or None,  # None: the file's default
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


@main.command(epilog=example("kpfctl stop web/http"))
@some_ids
@all_option
def stop(ids: Sequence[str], every: bool) -> None:
    """Stop forwards and release their local ports. Forwards that the file declares stay listed as stopped. If one id is
    wrong, no forward is stopped."""
    _check_ids(ids, every)
    with connect() as client:
        if every:
            client.call("stop_all")
        for id in _known(ids, client.call("portforward:list")):
            client.call("portforward:stop", id=id)


@main.command(epilog=example("kpfctl restart web/http"))
@some_ids
@all_option
def restart(ids: Sequence[str], every: bool) -> None:
    """Restart forwards with a fresh kubectl, or start those that were stopped. The local port stays open: connections
    made meanwhile are held. If one id is wrong, no forward is restarted."""
    _check_ids(ids, every)
    with connect() as client:
        forwards = client.call("portforward:list")
        for id in [each["id"] for each in forwards] if every else _known(ids, forwards):
            client.call("restart", id=id)


def _check_ids(ids: Sequence[str], every: bool) -> None:
    if ids and every:
        raise click.UsageError(f"--all means every forward. Leave out {' '.join(ids)}, or --all.")
    if not ids and not every:
        raise click.UsageError("Name the forwards, or use --all.")


def _known(ids: Sequence[str], forwards: Forwards) -> list[str]:
    """The ids without duplicates. Raises Refused, which names the ids that no forward has."""
    known = [each["id"] for each in forwards]
    if wrong := [no_such_forward(id, known) for id in ids if id not in known]:
        raise Refused("\n".join(wrong))
    return list(dict.fromkeys(ids))


@main.command(epilog=example("kpfctl wait web/http db --timeout 1m"))
@any_ids
@timeout_option
@keep_waiting_option
def wait(ids: Sequence[str], timeout: float, keep_waiting: bool) -> None:
    """Wait until forwards are active: those with an ID, or all that are not stopped. A lazy forward may be idle. At the
    timeout, or as soon as a failure is final, print which forwards are not active and why, and exit with 1."""
    with connect() as client:
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
                click.echo(f"{each['id']} is {each['state']}: {reason(each) or 'no answer yet'}", err=True)
            if hopeless:
                click.echo("kpfctl: a final failure is not waited for, unless you use --keep-waiting", err=True)
            sys.exit(1)
        if event["portForward"] is not None:
            forwards[event["forward"]] = event["portForward"]
        else:
            forwards.pop(event.get("forward", ""), None)


def _is_missing(forward: dict[str, Any], ids: Sequence[str]) -> bool:
    if forward["active"] or forward["state"] == "idle":
        return False
    return forward["id"] in ids if ids else forward["listening"] or forward["state"] == "failed"


@main.command(epilog=example("kpfctl reload"))
def reload() -> None:
    """Apply the configuration file now. A file with a mistake changes nothing, and the mistake is printed."""
    with connect() as client:
        client.call("reload")


@main.command(epilog=example("kpfctl shutdown"))
def shutdown() -> None:
    """Stop all forwards and end the instance; return when it has ended."""
    with connect() as client:
        client.call("shutdown")
        if not client.until_end(_LONGEST_END):
            raise NoAnswer(f"the instance has not ended within {_LONGEST_END:g} s")
