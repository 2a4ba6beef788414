"""The command kpfctl itself: how it selects the instance, and the options that several verbs share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from kpf_supervise import __version__
from kpf_supervise.config.errors import Mistake
from kpf_supervise.config.values import parse_timeout
from kpf_supervise.control.client import Client, NoAnswer, Refused, find


class _Program(click.Group):
    """On an error, prints it without a traceback and exits with 1."""

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
@click.version_option(__version__, "-V", "--version", prog_name="kpfctl")
@click.pass_context
def main(context: click.Context, socket: Path | None, file: Path | None) -> None:
    """Control a running kpf-supervise.

    If exactly one instance runs, kpfctl finds it by itself. Without --socket and -f, the environment variable
    KPF_SOCKET names the control socket; kpf-supervise sets it for its COMMAND.

    Exit codes: 0 done; 1 it failed; 2 usage.
    """
    if socket is not None and file is not None:
        raise click.UsageError("--socket and -f both name an instance. Use one of them.")


def chosen_socket(context: click.Context) -> Path:
    """The control socket of the instance that the options select. Raises NoAnswer."""
    given = context.find_root().params
    return find(given.get("socket"), given.get("file"))


def connect() -> Client:
    return Client(chosen_socket(click.get_current_context()))


def complete_ids(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        with Client(chosen_socket(context), timeout=1) as client:
            forwards = client.call("portforward:list")
    except (NoAnswer, Refused):
        return []
    return [CompletionItem(each["id"], help=each["state"]) for each in forwards if each["id"].startswith(incomplete)]


def complete_contexts(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        with Client(chosen_socket(context), timeout=1) as client:
            logins = client.call("logins")
    except (NoAnswer, Refused):
        return []
    known = [CompletionItem(each["context"], help=each["plugin"]) for each in logins]
    return [each for each in known if each.value.startswith(incomplete)]


def read_duration(context: click.Context, parameter: click.Parameter, value: str) -> float:
    try:
        return parse_timeout(value)
    except Mistake as mistake:
        raise click.BadParameter(str(mistake)) from None


timeout_option = click.option(
    "--timeout",
    default="30s",
    show_default=True,
    callback=read_duration,
    metavar="DURATION",
    help="How long to wait: 30, 30s, 500ms, 1m30s.",
)


keep_waiting_option = click.option(
    "--keep-waiting", is_flag=True, help="Also wait for a forward whose failure is final."
)


any_ids = click.argument("ids", nargs=-1, metavar="[ID...]", shell_complete=complete_ids)
some_ids = click.argument("ids", nargs=-1, metavar="ID... | --all", shell_complete=complete_ids)
all_option = click.option("--all", "every", is_flag=True, help="All forwards.")
follow_option = click.option("--follow", is_flag=True, help="Keep printing new events, until Ctrl-C.")


def example(text: str) -> str:
    return f"\b\nExample:\n  {text}"
