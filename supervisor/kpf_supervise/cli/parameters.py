"""How the command line of kpf-supervise is read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import click
from click.shell_completion import CompletionItem

_Value = TypeVar("_Value")


def read_duration(context: click.Context, parameter: click.Parameter, value: str) -> float:
    """The duration in seconds. A number without a unit is seconds."""
    from kpf_supervise.config.values import parse_timeout

    return _read(parse_timeout, value)


def read_listen(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, int] | None:
    """The address and the port on which the proxy listens."""
    from kpf_supervise.config.values import parse_listen

    return None if value is None else _read(parse_listen, value)


def read_namespace(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    from kpf_supervise.config.values import parse_namespace

    return None if value is None else _read(parse_namespace, value)


def read_context(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    from kpf_supervise.config.values import parse_context

    return None if value is None else _read(parse_context, value)


def read_kubeconfig(context: click.Context, parameter: click.Parameter, value: str | None) -> Path | None:
    from kpf_supervise.config.values import parse_kubeconfig

    return None if value is None else _read(partial(parse_kubeconfig, folder=Path()), value)


def _read(parse: Callable[[str], _Value], text: str) -> _Value:
    from kpf_supervise.config.errors import Mistake

    try:
        return parse(text)
    except Mistake as mistake:
        raise click.BadParameter(str(mistake)) from None


def complete_files(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


class CommandAfterDashes(click.Command):
    """Whatever follows `--` is the COMMAND, also where no CONFIG stands before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        command = tuple(args[at + 1 :])
        left = super().parse_args(ctx, args[:at])
        ctx.params["command"] = (*ctx.params["command"], *command)
        return left
