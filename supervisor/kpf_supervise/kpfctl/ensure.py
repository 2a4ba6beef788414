"""The verb ensure."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kpf_supervise.config.errors import Mistake
from kpf_supervise.config.words import read_words
from kpf_supervise.control.jsonrpc import Refusal
from kpf_supervise.control.methods import arguments
from kpf_supervise.kpfctl.group import example, main, read_duration, timeout_option
from kpf_supervise.kpfctl.rendering import takes_all
from kpf_supervise.kpfctl.sharing import ensure as ensure_at
from kpf_supervise.kpfctl.sharing import ensure_anywhere, seconds
from kpf_supervise.kubectl.kubeconfigs import paths_of
from kpf_supervise.model import Cluster
from kpf_supervise.runtime.environment import reached_at
from kpf_supervise.shell_completion.completion import (
    chosen_socket,
    complete_contexts,
    complete_namespaces,
    complete_target_and_ports,
)

_EXAMPLES = (
    'ADDR=$(kpfctl ensure statefulset/db 5432 -n shop) && psql -h "${ADDR%:*}" -p "${ADDR##*:}"',
    "kpfctl ensure -l app=search 9200 --ttl 2h -o json | jq -r .port",
)
_FIELDS = ("id", "state", "leaseEnds", "shared", "target", "remote", "namespace", "context", "pod", "socket")


@main.command(epilog=example(*_EXAMPLES))
@click.argument(
    "words", nargs=-1, required=True, metavar="TARGET [LOCAL:]REMOTE", shell_complete=complete_target_and_ports
)
@click.option("-l", "--selector", help="Instead of a TARGET: a label selector, as for kubectl -l.")
@click.option("-n", "--namespace", shell_complete=complete_namespaces, help="Default: the context's.")
@click.option("--context", shell_complete=complete_contexts, help="The kubeconfig's context. Default: the current one.")
@click.option(
    "--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Default: as for kubectl."
)
@click.option(
    "--ttl",
    default="30m",
    show_default=True,
    callback=read_duration,
    metavar="DURATION",
    help="How long the forward is kept after this; open connections keep it longer. Each call renews it.",
)
@timeout_option
@click.option(
    "-o",
    "--output",
    type=click.Choice(["address", "json"]),
    default="address",
    show_default=True,
    help="HOST:PORT alone, or a JSON object.",
)
def ensure(
    words: Sequence[str],
    selector: str | None,
    kubeconfig: Path | None,
    ttl: float,
    timeout: float,
    output: str,
    **place: Any,
) -> None:
    """Print the local address of a forward, for scripts: HOST:PORT alone on stdout, once it is active.

    A forward that is there already is shared, whichever instance has it. Otherwise an instance in the background
    starts one, and is started itself where none runs: it ends with the last lease. The local port is any free one,
    unless LOCAL is given.

    If it can't become active, the reason is printed, nothing is left behind, and the exit code is 1."""
    try:
        what, pairs = read_words(words, selector, "kpfctl ensure", any_local=True)
    except Mistake as mistake:
        raise click.UsageError(str(mistake)) from None
    if len(pairs) != 1:
        raise click.UsageError("Name one port of the target, and call kpfctl ensure for each")
    ((local, remote),) = pairs
    wanted = {
        "resource_type": what.kind,
        "name": what.name,
        "local_port": local or 0,
        "remote_port": remote,
        "ttl": seconds(ttl),
        **place,
    }
    try:  # before any instance is started for it
        arguments("portforward:ensure", {name: value for name, value in wanted.items() if value is not None})
    except Refusal as refusal:
        raise click.UsageError(str(refusal)) from None
    context = click.get_current_context()
    chosen = context.find_root().params
    if chosen["socket"] or chosen["file"] or os.environ.get("KPF_SOCKET"):
        if kubeconfig is not None:
            wanted["kubeconfig"] = str(kubeconfig.absolute())
        found = ensure_at(chosen_socket(context), timeout, wanted)
    else:
        found = ensure_anywhere(paths_of(Cluster(kubeconfig), os.environ), timeout, wanted)
    host, address = reached_at(found["address"], found["localPort"])
    if output == "address":
        click.echo(address)
        return
    facts = {"address": address, "host": host, "port": found["localPort"], **{key: found[key] for key in _FIELDS}}
    click.echo(json.dumps(facts, indent=2, ensure_ascii=not takes_all()))
