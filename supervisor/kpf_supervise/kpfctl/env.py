"""The verb env: the addresses of forwards as variables, for shells and for other programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

import click

from kpf_supervise.kpfctl.group import any_ids, connect, example, main
from kpf_supervise.kpfctl.ids import Words, selected
from kpf_supervise.runtime import environment

_OUTPUTS = {
    "shell": environment.shell_lines,
    "fish": environment.fish_lines,
    "dotenv": environment.dotenv_lines,
    "json": environment.json_lines,
    "compose": environment.compose_lines,
}
_EXAMPLES = (
    'eval "$(kpfctl env)"; curl "$KPF_WEB_HTTP_ADDR"',
    "kpfctl env -o fish | source",
    "kpfctl env -o dotenv web > .env",
    'eval "$(kpfctl env --proxy)"; curl http://web.shop/',
)


@main.command(epilog=example(*_EXAMPLES))
@any_ids
@click.option(
    "-o",
    "--output",
    type=click.Choice(list(_OUTPUTS)),
    default="shell",
    show_default=True,
    help="Commands for sh, bash and zsh, or for fish; a .env file; a JSON object; or lines for a service of compose.",
)
@click.option("--proxy", is_flag=True, help="Print where the proxy is instead: ALL_PROXY, HTTP_PROXY and the others.")
def env(words: Words, output: str, proxy: bool) -> None:
    """Print the addresses of forwards as variables: KPF_<NAME>_HOST, _PORT and _ADDR of those with an ID, or of every
    forward that listens."""
    if proxy:
        return _print(output, _of_proxy(output))
    with connect() as client:
        found = selected(words, client.call("portforward:list"))
        listening = [each for each in found if each["listening"] and not each["proxied"]]
    if pair := environment.alike(each["id"] for each in listening):
        click.echo(f"kpfctl: {pair[0]} and {pair[1]} have the same variables; those of the last one are used", err=True)
    if output == "compose":
        _warn([each["id"] for each in listening if each["address"] in environment.LOOPBACK])
    values: dict[str, str] = {}
    for each in listening:
        address = environment.seen_from_container(each["address"]) if output == "compose" else each["address"]
        values |= environment.variables(each["id"], address, each["localPort"])
    return _print(output, values)


def _print(output: str, values: Mapping[str, str]) -> None:
    for line in _OUTPUTS[output](values):
        click.echo(line)


def _of_proxy(output: str) -> dict[str, str]:
    with connect() as client:
        found = client.call("info")["proxy"]
    if found is None:
        raise click.ClickException(
            "this instance has no proxy: add proxy: 1080 to its file, or start it with --proxy 1080"
        )
    address = environment.seen_from_container(found["address"]) if output == "compose" else found["address"]
    return environment.proxy_variables(address, found["port"], os.environ)


def _warn(ids: Sequence[str]) -> None:
    """Docker Desktop leads from its containers to what listens on loopback; on Linux nothing does."""
    if ids and sys.platform == "linux":
        listen = "they listen" if len(ids) > 1 else "it listens"
        click.echo(
            f"kpfctl: containers do not reach {', '.join(ids)}: {listen} on loopback only. Set the address: of the "
            "forward to one that they reach, such as 172.17.0.1 of Docker's bridge; or use network_mode: host and "
            "kpfctl env -o dotenv",
            err=True,
        )
