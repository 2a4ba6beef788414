"""The command kpf-supervise. Imports what only a run needs as late as possible, so that --version and --check are
quick."""

from __future__ import annotations

import json
import os
import signal
import sys
from io import TextIOWrapper
from pathlib import Path

import click

from kpf_supervise import __version__
from kpf_supervise.cli.kubectl import chosen_kubectl, not_runnable
from kpf_supervise.cli.parameters import (
    CommandAfterDashes,
    complete_files,
    read_context,
    read_duration,
    read_kubeconfig,
    read_listen,
    read_namespace,
)

_COMPLETE = "_KPF_SUPERVISE_COMPLETE"
EPILOG = """
\b
Examples:
  kpf-supervise forwards.yaml                     keep the forwards until Ctrl-C
  kpf-supervise --check forwards.yaml             only check the file
  kpf-supervise --check --live forwards.yaml      also ask the cluster whether it would work
  kpf-supervise --sandbox forwards.yaml           try it without a cluster
  kpf-supervise forwards.yaml -- make test        run a command while they are active
  kpf-supervise --init -n shop > forwards.yaml    begin with the services that are there
  kpf-supervise --import Procfile > forwards.yaml begin with what another tool has declared
  kpf-supervise --proxy 1080                      reach every service of the cluster through one local port

Exit codes: 0 done; 1 it failed; 2 usage or configuration; with a COMMAND, its own.
"""
NO_FILE = """Name the configuration file, for example: kpf-supervise forwards.yaml. Write into it, for example:

    forwards:
      web: {target: service/web, ports: "8080:80"}
      db: {target: statefulset/db, ports: 5432}

kpf-supervise --init prints one with the services of your cluster, --schema all options. kpf-supervise --proxy 1080
needs no file."""


@click.command(
    cls=CommandAfterDashes,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.argument("config", required=False, type=click.Path(path_type=Path), metavar="[CONFIG]")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]", shell_complete=complete_files)
@click.option("--check", is_flag=True, help="Check CONFIG, print all mistakes in it, and exit.")
@click.option(
    "--live", is_flag=True, help="With --check: also ask the clusters whether it would work. Nothing is forwarded."
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    help="With --check --live: a table for people (default), or JSON for programs.",
)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the configuration file, for editors.")
@click.option(
    "--import",
    "imported",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE|-",
    help="Print a CONFIG made from kubectl port-forward lines (in scripts, Makefiles, Procfiles, process-compose) or "
    "from a file of kftray, kubeport, localport, skaffold or devspace. What can't be kept is a comment in it, and a "
    "line on stderr.",
)
@click.option(
    "--init",
    is_flag=True,
    help="Print a CONFIG made from the services of a namespace, each a lazy forward. What can't be forwarded is a "
    "comment in it.",
)
@click.option(
    "-n",
    "--namespace",
    callback=read_namespace,
    metavar="NAME",
    help="With --init: the namespace. Default: the context's.",
)
@click.option(
    "--context",
    callback=read_context,
    metavar="NAME",
    help="With --init: the kubeconfig's context. Default: the current one.",
)
@click.option(
    "--kubeconfig",
    callback=read_kubeconfig,
    metavar="PATH",
    help="With --init: the kubeconfig. Default: as for kubectl.",
)
@click.option("--sandbox", is_flag=True, help="Use the embedded sandbox cluster: it needs kubectl, but no Kubernetes.")
@click.option(
    "--proxy",
    callback=read_listen,
    metavar="[ADDRESS:]PORT",
    help="Reach every name of the cluster, such as web.shop, on this one local port: SOCKS5 and HTTP. Needs no CONFIG.",
)
@click.option(
    "--kubectl", metavar="PATH", help="The kubectl to run. Default: the file's, then $KUBECTL, then the one on PATH."
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="One line per event on stderr: for people, or a JSON object for programs.",
)
@click.option(
    "--ready-timeout",
    default="30s",
    callback=read_duration,
    show_default=True,
    metavar="DURATION",
    help="With a COMMAND: how long it waits for the forwards to be active. A number alone is seconds.",
)
@click.option("--keep-waiting", is_flag=True, help="With a COMMAND: also wait for a forward whose failure is final.")
@click.option(
    "--socket",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="The control socket. Default: the file's, or one that kpfctl finds by itself.",
)
@click.option(
    "--persist", is_flag=True, help="Restore what kpfctl started and stopped, and save its changes for the next start."
)
@click.option("--no-panel", is_flag=True, help="Print one line per event instead of the panel, even on a terminal.")
@click.option("--detach", is_flag=True, help="Run in the background: return when the local ports are bound.")
@click.version_option(__version__, "-V", "--version", prog_name="kpf-supervise")
def main(
    config: Path | None,
    command: tuple[str, ...],
    check: bool,
    live: bool,
    output: str | None,
    schema: bool,
    imported: Path | None,
    init: bool,
    namespace: str | None,
    context: str | None,
    kubeconfig: Path | None,
    sandbox: bool,
    proxy: tuple[str, int] | None,
    kubectl: str | None,
    log_format: str,
    ready_timeout: float,
    keep_waiting: bool,
    socket: Path | None,
    persist: bool,
    detach: bool,
    no_panel: bool,
) -> None:
    """Keep the Kubernetes port-forwards that the YAML file CONFIG declares.

    Every local port stays usable while kpf-supervise runs: a connection made while a pod restarts is held, not
    refused, and goes to the next ready pod.

    With a COMMAND: run it once all forwards are active, with KPF_<NAME>_HOST, KPF_<NAME>_PORT and KPF_<NAME>_ADDR in
    its environment. When it ends, stop everything and exit with its exit code.
    """
    from kpf_supervise.config.contents import Config
    from kpf_supervise.config.errors import ConfigError
    from kpf_supervise.config.loader import load
    from kpf_supervise.config.schema import schema as schema_of_file

    if schema:
        click.echo(json.dumps(schema_of_file(), indent=2))
        return
    if imported is not None:
        if config is not None or command:
            raise click.UsageError("--import takes one FILE, and no CONFIG or COMMAND")
        from kpf_supervise.cli.importing import print_imported

        sys.exit(print_imported(imported))
    if live and (not check or config is None or command):
        raise click.UsageError("--live belongs to --check CONFIG: kpf-supervise --check --live forwards.yaml")
    if output and not live:
        raise click.UsageError("--output belongs to --check --live")
    if init:
        if config is not None or command or check:
            raise click.UsageError("--init takes no CONFIG and no COMMAND: it prints a CONFIG")
        from kpf_supervise.cli.inspecting import print_made
        from kpf_supervise.model import Cluster

        binary = _runnable(kubectl, None, None)
        sys.exit(print_made(binary, Cluster(kubeconfig, context), namespace, sandbox))
    if namespace or context or kubeconfig:
        raise click.UsageError("--namespace, --context and --kubeconfig belong to --init; in CONFIG they are options")
    if config is None and not sandbox and proxy is None:
        raise click.UsageError(NO_FILE)
    try:
        settings = load(config, pipe=True) if config is not None else Config(forwards=())
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    if check and not live:
        click.echo(f"{config}: valid; it declares {settings.summary}")
        return

    binary = _runnable(kubectl, config, settings.kubectl)
    if live:
        assert config is not None
        from kpf_supervise.cli.inspecting import print_live

        sys.exit(print_live(binary, settings, config, socket or settings.socket, sandbox, output or "table"))
    if detach:
        if command:
            raise click.UsageError("--detach can't be combined with a COMMAND: the instance ends when the COMMAND ends")
        if config is not None and settings.mark is None:
            raise click.UsageError("--detach reads CONFIG twice, and a pipe is read only once. Name a file")
        from kpf_supervise.instance.detach import detach as start_apart

        sys.exit(start_apart([word for word in sys.argv[1:] if word != "--detach"], config, socket or settings.socket))

    import trio

    from kpf_supervise.app import Job, run
    from kpf_supervise.instance.environment import alike
    from kpf_supervise.instance.paths import has_terminal

    if command and (pair := alike(forward.id for forward in settings.forwards)):
        raise click.UsageError(f"{pair[0]} and {pair[1]} would share their KPF_… variables: rename one")
    job = Job(
        config=settings,
        path=config,
        kubectl=binary,
        log_format=log_format,
        sandbox=sandbox,
        proxy=proxy,
        socket=socket or settings.socket,
        persist=persist or settings.persist,
        command=command,
        ready_timeout=ready_timeout,
        keep_waiting=keep_waiting,
        panel=not no_panel and not command and log_format == "text" and has_terminal(),
    )
    sys.exit(trio.run(run, job))


def _runnable(option: str | None, config: Path | None, said: str | None) -> str:
    """The kubectl to run. Exits if it can't be run."""
    source, binary = chosen_kubectl(option, config, said)
    if why := not_runnable(binary):
        fix = "Install kubectl (1.20 or later), or name its path: --kubectl PATH, kubectl: in the file, or $KUBECTL"
        click.echo(f"kpf-supervise: {source}: cannot run {binary}: {why}. {fix}", err=True)
        sys.exit(1)
    return binary


def program() -> None:
    """Run the command. A signal before the run ends the program at once; after it, signals are ignored."""
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in stops:
        signal.signal(number, lambda *_: os._exit(0))
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # prints ? for a character that Latin-1, for example, lacks
    if _COMPLETE in os.environ:  # the shell asks
        import kpf_supervise.kpfctl.shells  # noqa: F401  tells click how to answer
    try:
        main(complete_var=_COMPLETE)
    finally:
        for number in stops:
            signal.signal(number, signal.SIG_IGN)
