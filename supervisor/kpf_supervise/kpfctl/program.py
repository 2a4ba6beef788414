"""kpfctl with all its verbs."""

from __future__ import annotations

import signal
import sys
from io import TextIOWrapper

import click

from kpf_supervise.kpfctl import change, details, ensure, env, login, show, start  # noqa: F401  each declares its verbs
from kpf_supervise.kpfctl.group import example, main
from kpf_supervise.kpfctl.shells import PROGRAMS, SHELLS


@main.command(epilog=example('eval "$(kpfctl completion bash)"', "kpfctl completion fish | source"))
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str) -> None:
    """Print a script with which the shell completes verbs, options, ids, and what there is in the cluster: for kpfctl
    and for kpf-supervise."""
    click.echo(SHELLS[shell](main, {}, "kpfctl", PROGRAMS["kpfctl"]).source(), nl=False)


def program() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is the normal end of --follow: no message
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # Latin-1, for example, has no arrows: print ? instead of failing
    main(prog_name="kpfctl", complete_var=PROGRAMS["kpfctl"])
