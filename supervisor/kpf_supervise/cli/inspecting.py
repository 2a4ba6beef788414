"""The options --init and --check --live."""

from __future__ import annotations

import json
from pathlib import Path

import click

from kpf_supervise.config.contents import Config
from kpf_supervise.inspection.file_from_cluster import Made
from kpf_supervise.inspection.findings import Report
from kpf_supervise.inspection.live_check import check
from kpf_supervise.inspection.local import held_by
from kpf_supervise.inspection.making import make
from kpf_supervise.inspection.report import document, lines
from kpf_supervise.inspection.session import Session, ask
from kpf_supervise.kpfctl.rendering import takes_all
from kpf_supervise.model import Cluster, ForwardError
from kpf_supervise.runtime.paths import socket_of


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


def print_live(binary: str, config: Config, path: Path | None, socket: Path | None, sandbox: bool, output: str) -> int:
    """Print whether what the file at `path`, or the command line, declares would work. The exit code is 0 if all
    would."""
    found: list[Report] = []
    where = socket or (socket_of(path) if path is not None else None)
    held = held_by(where) if where is not None else frozenset()

    async def once(session: Session) -> int:
        report = await check(session, config, str(path or "the command line"), held)
        found.append(report)
        return 0 if report.ok else 1

    code = ask(binary, config.credentials == "share", sandbox, once)
    for report in found:
        if output == "json":
            click.echo(json.dumps(document(report), indent=2, ensure_ascii=not takes_all()))
        else:
            click.echo("\n".join(lines(report)))
    return code
