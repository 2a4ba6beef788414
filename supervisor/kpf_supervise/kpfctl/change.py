"""The verbs that change something, or wait for a change: stop, restart, wait, reload, shutdown."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import click

from kpf_supervise.control.client import Client, NoAnswer
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
from kpf_supervise.kpfctl.ids import Forwards, Words, resolve
from kpf_supervise.panel_state.cells import reason

_LONGEST_END = 30.0  # seconds


@main.command(epilog=example("kpfctl stop web/http", "kpfctl stop 'web/*' 5432", "kpfctl stop --group backend"))
@some_ids
@all_option
def stop(words: Words, every: bool) -> None:
    """Stop forwards and release their local ports. Forwards that the file declares stay listed as stopped. If one id is
    wrong, no forward is stopped."""
    _check_words(words, every)
    with connect() as client:
        if every:
            client.call("stop_all")
        for id in resolve(words, client.call("portforward:list")):
            client.call("portforward:stop", id=id)


@main.command(epilog=example("kpfctl restart web/http", "kpfctl restart web"))
@some_ids
@all_option
def restart(words: Words, every: bool) -> None:
    """Restart forwards with a fresh kubectl, or start those that were stopped. The local port stays open: connections
    made meanwhile are held. If one id is wrong, no forward is restarted."""
    _check_words(words, every)
    with connect() as client:
        forwards = client.call("portforward:list")
        for id in [each["id"] for each in forwards] if every else resolve(words, forwards):
            client.call("restart", id=id)


def _check_words(words: Words, every: bool) -> None:
    if words and every:
        raise click.UsageError(f"--all means every forward. Leave out {words}, or --all.")
    if not words and not every:
        raise click.UsageError("Name the forwards, or use --all.")


def start_stopped(words: Words, wait: bool, timeout: float, keep_waiting: bool) -> None:
    """Start those of the forwards that do not listen, print their ids, and with `wait` do what the verb does."""
    with connect() as client:
        forwards = client.call("portforward:list")
        ids = resolve(words, forwards)
        for id in [each["id"] for each in forwards if each["id"] in ids and not each["listening"]]:
            client.call("restart", id=id)
            click.echo(id)
        if wait and (missing := until_active(client, ids, timeout, keep_waiting)):
            tell_missing(missing)
            sys.exit(1)


@main.command(epilog=example("kpfctl wait web/http db --timeout 1m", "kpfctl wait --group backend"))
@any_ids
@timeout_option
@keep_waiting_option
def wait(words: Words, timeout: float, keep_waiting: bool) -> None:
    """Wait until forwards are active: those with an ID, or all that are not stopped. A lazy forward may be idle. At the
    timeout, or as soon as a failure is final, print which forwards are not active and why, and exit with 1."""
    with connect() as client:
        meant = resolve(words, client.call("portforward:list"))
        if missing := until_active(client, meant, timeout, keep_waiting):
            tell_missing(missing)
            if not keep_waiting and any(each.get("final") for each in missing):
                click.echo("kpfctl: a final failure is not waited for, unless you use --keep-waiting", err=True)
            sys.exit(1)


def until_active(client: Client, ids: Sequence[str], timeout: float, keep_waiting: bool) -> Forwards:
    """Wait until these forwards are active, or without an id all that are not stopped. Returns those that are missing
    after `timeout` seconds. Unless `keep_waiting` is set, returns those whose failure is final as soon as there are
    some."""
    until = time.monotonic() + timeout
    forwards = {each["id"]: each for each in client.call("subscribe")}
    events = client.events(until)
    while missing := [each for each in forwards.values() if _is_missing(each, ids)]:
        if not keep_waiting and (hopeless := [each for each in missing if each.get("final")]):
            return hopeless
        event = next(events, None)
        if event is None:
            return missing
        if event["portForward"] is not None:
            forwards[event["forward"]] = event["portForward"]
        else:
            forwards.pop(event.get("forward", ""), None)
    return []


def tell_missing(missing: Forwards) -> None:
    for each in missing:
        click.echo(f"{each['id']} is {each['state']}: {reason(each) or 'no answer yet'}", err=True)


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
