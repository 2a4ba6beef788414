"""The command kpf-supervise. Imports what a run needs only when it runs, so that --version and --check are quick."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import click

EPILOG = """
\b
Examples:
  kpf-supervise forwards.yaml                     keep the forwards until Ctrl-C
  kpf-supervise --check forwards.yaml             only say whether the file is right
  kpf-supervise --sandbox config.example.yaml     try it without a cluster
  kpf-supervise forwards.yaml -- make test        run a command while they are up

Exit codes: 0 done; 1 it failed; 2 usage or configuration; with a COMMAND, its own.
"""


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("config", required=False, type=click.Path(path_type=Path), metavar="CONFIG")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.option("--check", is_flag=True, help="Read CONFIG, say what is wrong with it, and exit.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the configuration file, for editors.")
@click.option("--sandbox", is_flag=True, help="Use the embedded sandbox cluster: no Kubernetes needed, only kubectl.")
@click.option("--kubectl", metavar="PATH", help="The kubectl to run; else the file's, $KUBECTL, or the one on PATH.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="One line per event on stderr: for people, or a JSON object for machines.",
)
@click.option(
    "--ready-timeout",
    type=click.FloatRange(min=0),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="With a COMMAND: how long it waits for the forwards to be active.",
)
@click.option(
    "--socket",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="The control socket; else the file's, or one that kpfctl finds by itself.",
)
@click.option("--persist", is_flag=True, help="Restore what kpfctl has started and stopped, also after this run.")
@click.option("--no-panel", is_flag=True, help="On a terminal, too, print a line per event instead of the panel.")
@click.option("--detach", is_flag=True, help="Run in the background: return when the local ports are bound.")
@click.version_option(None, "-V", "--version", package_name="kpf-supervise", prog_name="kpf-supervise")
def main(
    config: Path | None,
    command: tuple[str, ...],
    check: bool,
    schema: bool,
    sandbox: bool,
    kubectl: str | None,
    log_format: str,
    ready_timeout: float,
    socket: Path | None,
    persist: bool,
    detach: bool,
    no_panel: bool,
) -> None:
    """Keep the Kubernetes port-forwards that the YAML file CONFIG declares.

    Every local port stays usable for as long as this runs: a connection that comes while a pod restarts is held,
    not refused, and goes to the next ready pod.

    With a COMMAND: run it once all forwards are active, with KPF_<NAME>_HOST, KPF_<NAME>_PORT and KPF_<NAME>_ADDR in
    its environment, stop all when it ends, and exit with its code.
    """
    from .config import ConfigError, load
    from .config import schema as schema_of_file
    from .model import Config

    if schema:
        click.echo(json.dumps(schema_of_file(), indent=2))
        return
    if config is None and not sandbox:
        raise click.UsageError("Name the configuration file, for example: kpf-supervise config.example.yaml")
    try:
        settings = load(config) if config is not None else Config(forwards=())
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    if check:
        count = len(settings.forwards)
        click.echo(f"{config}: right; it declares {count} forward{'s' if count != 1 else ''}")
        return

    if detach:
        if command:
            raise click.UsageError("--detach and a COMMAND don't go together: a COMMAND's end is the end of all")
        from .detach import detach as start_apart

        sys.exit(start_apart([word for word in sys.argv[1:] if word != "--detach"], config))

    import trio

    from .app import Job, run
    from .place import has_terminal
    from .variables import alike

    if command and (pair := alike(forward.id for forward in settings.forwards)):
        raise click.UsageError(f"{pair[0]} and {pair[1]} would share their KPF_… variables: rename one")
    job = Job(
        config=settings,
        path=config,
        kubectl=kubectl or settings.kubectl or os.environ.get("KUBECTL") or "kubectl",
        log_format=log_format,
        sandbox=sandbox,
        socket=socket or settings.socket,
        persist=persist or settings.persist,
        command=command,
        ready_timeout=ready_timeout,
        panel=not no_panel and not command and log_format == "text" and has_terminal(),
    )
    sys.exit(trio.run(run, job))


def program() -> None:
    """The command, with an answer to Ctrl-C even before and after the run has its own: nothing is there to stop."""
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in stops:
        signal.signal(number, lambda *_: os._exit(0))
    try:
        main()
    finally:
        for number in stops:
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    program()
