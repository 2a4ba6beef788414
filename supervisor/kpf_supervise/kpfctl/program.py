"""kpfctl with all its verbs."""

from __future__ import annotations

import signal
import sys
from io import TextIOWrapper

import click
from click.shell_completion import get_completion_class

from kpf_supervise.kpfctl import change, login, show  # noqa: F401  each declares its verbs
from kpf_supervise.kpfctl.group import example, main


@main.command(epilog=example('eval "$(kpfctl completion bash)"'))
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script with which the shell completes verbs, options and ids."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "kpfctl", "_KPFCTL_COMPLETE").source())


def program() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is the normal end of --follow: no message
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # Latin-1, for example, has no arrows: print ? instead of failing
    main(prog_name="kpfctl")
