"""How the command line of kpf-supervise is read."""

from __future__ import annotations

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem


def read_duration(context: click.Context, parameter: click.Parameter, value: str) -> float:
    """The duration in seconds. A number without a unit is seconds."""
    from kpf_supervise.config.errors import Mistake
    from kpf_supervise.config.values import parse_timeout

    try:
        return parse_timeout(value)
    except Mistake as mistake:
        raise click.BadParameter(str(mistake)) from None


def read_listen(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, int] | None:
    """The address and the port on which something listens beside the forwards."""
    from kpf_supervise.config.errors import Mistake
    from kpf_supervise.config.values import parse_listen

    try:
        return None if value is None else parse_listen(value)
    except Mistake as mistake:
        raise click.BadParameter(str(mistake)) from None


def late(name: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """A function of the module `completion`, which is imported when the shell asks."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from kpf_supervise.cli import completion

        found: list[CompletionItem] = getattr(completion, name)(context, parameter, incomplete)
        return found

    return complete


class CommandAfterDashes(click.Command):
    """Whatever follows `--` is the parameter `command`; it is None without a `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.params["command"] = tuple(args[at + 1 :]) if at < len(args) else None
        return super().parse_args(ctx, args[:at])
