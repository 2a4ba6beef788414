"""The verb that signs in: login."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import click

from kpf_supervise.control.client import Client, Refused
from kpf_supervise.kpfctl.group import example, main
from kpf_supervise.shell_completion.completion import chosen_socket, complete_logins

_PATIENCE = 24 * 3600.0  # seconds: a sign-in takes as long as its user


@main.command(epilog=example("kpfctl login kind-dev"))
@click.argument("context", required=False, shell_complete=complete_logins)
@click.pass_context
def login(click_context: click.Context, context: str | None) -> None:
    """Sign in to a cluster with the credential plugin of the kubeconfig, and wait until that is done. All kubectls of
    the instance then use what it gives. Without CONTEXT: to each cluster in use.

    A plugin that needs a terminal is run on this one."""
    with Client(chosen_socket(click_context), _PATIENCE) as client:
        known = {each["context"]: each["plugin"] for each in client.call("logins")}
        if context is None and not known:
            raise Refused("no forward signs in with a credential plugin that kpf-supervise runs")
        for each in [context] if context is not None else known:
            click.echo(f"signing in to {each}{f' with {known[each]}' if each in known else ''}", err=True)
            run = client.call("login", context=each, terminal=os.isatty(0))
            if run is not None:
                client.call("login", context=each, credential=_on_terminal(run))
            click.echo(f"signed in to {each}")


def _on_terminal(run: dict[str, Any]) -> str:
    """What the plugin prints. It has our terminal. Raises Refused if it fails."""
    environment = {**os.environ, **run["env"], "KUBERNETES_EXEC_INFO": run["info"]}
    try:
        done = subprocess.run(run["command"], env=environment, stdout=subprocess.PIPE, stderr=sys.stderr, check=False)
    except OSError as error:
        raise Refused(f"cannot run {run['command'][0]}: {error.strerror or error}") from None
    if done.returncode != 0:
        raise Refused(f"{os.path.basename(run['command'][0])} failed with exit code {done.returncode}")
    return done.stdout.decode(errors="replace")
