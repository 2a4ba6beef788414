"""The option --init."""

from __future__ import annotations

import click

from kpf_supervise.inspection.file_from_cluster import Made
from kpf_supervise.inspection.making import make
from kpf_supervise.inspection.session import Session, ask
from kpf_supervise.model import Cluster, ForwardError


def print_made(binary: str, cluster: Cluster, namespace: str | None, sandbox: bool) -> int:
    """Print a configuration made from the services of a namespace. The exit code is 0 if there is one."""
    found: list[Made] = []

    async def once(session: Session) -> int:
        try:
            found.append(await make(session, cluster, namespace))
        except ForwardError as trouble:
            found.append(Made("", str(trouble.problem)))
        return 1 if found[0].problem else 0

    code = ask(binary, True, sandbox, once)
    for made in found:
        if made.problem:
            click.echo(f"kpf-supervise: {made.problem}", err=True)
        else:
            click.echo(made.text.encode(), nl=False)  # a configuration is UTF-8, whatever the terminal
    return code
