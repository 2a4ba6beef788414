"""The command kpfctl itself: how it selects the instance, and the options that several verbs share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from kpf_supervise.config.errors import Mistake
from kpf_supervise.config.values import parse_timeout
from kpf_supervise.control.client import TIMEOUT, Client, NoAnswer, Refused
from kpf_supervise.kpfctl.ids import Words
from kpf_supervise.shell_completion.completion import chosen_socket, complete_groups, complete_ids, complete_sockets
from kpf_supervise.version import described


class _Program(click.Group):
    """On an error, prints it without a traceback and exits with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (NoAnswer, Refused) as error:
            click.echo(f"kpfctl: {error}", err=True)
            sys.exit(1)


def _version(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"kpfctl {described()}")
        context.exit()


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    metavar="PATH",
    shell_complete=complete_sockets,
    help="The instance with this control socket.",
)
@click.option("-f", "--file", type=click.Path(path_type=Path), metavar="CONFIG", help="The instance of this file.")
@click.option(
    "-V",
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_version,
    help="Print the version and its commit.",
)
@click.pass_context
def main(context: click.Context, socket: Path | None, file: Path | None) -> None:
    """Control a running kpf-supervise.

    If exactly one instance runs, kpfctl finds it by itself. Without --socket and -f, the environment variable
    KPF_SOCKET names the control socket; kpf-supervise sets it for its COMMAND.

    An ID is that of a forward (web/http), a name for all its ports (web), a local port (8080), or a glob ('web/*').

    Exit codes: 0 done; 1 it failed; 2 usage.
    """
    if socket is not None and file is not None:
        raise click.UsageError("--socket and -f both name an instance. Use one of them.")


def connect(timeout: float = TIMEOUT) -> Client:
    """A connection to the chosen instance, which has `timeout` seconds for each answer. Raises NoAnswer."""
    return Client(chosen_socket(click.get_current_context()), timeout)


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


group_option = click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_groups,
    help="The forwards of this group of the file; may be repeated.",
)


def _ids(metavar: str, required: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The verb gets them, and the groups, as its first parameter."""

    def decorate(verb: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(verb)
        def called(ids: Sequence[str], groups: Sequence[str], **options: Any) -> Any:
            if required and not ids and not groups:
                raise click.UsageError("Name the forwards, or a group of them: --group NAME.")
            return verb(Words(ids, groups), **options)

        argument = click.argument("ids", nargs=-1, metavar=metavar, shell_complete=complete_ids)
        return argument(group_option(called))

    return decorate


any_ids = _ids("[ID...]")
some_ids = _ids("ID... | --all")
ids_to_show = _ids("ID...", required=True)
no_headers_option = click.option("--no-headers", is_flag=True, help="Leave out the line with the names of the columns.")
all_option = click.option("--all", "every", is_flag=True, help="All forwards.")
follow_option = click.option("-f", "--follow", is_flag=True, help="Keep printing new events, until Ctrl-C.")


def example(*lines: str) -> str:
    return "\n".join(["\b", "Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)])
