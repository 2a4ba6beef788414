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

from kpf_supervise.cli.groups import check_groups
from kpf_supervise.cli.kubectl import chosen_kubectl, described_kubectl, runnable_kubectl
from kpf_supervise.cli.parameters import CommandAfterDashes, late, read_duration, read_listen
from kpf_supervise.version import described

_COMPLETE = "_KPF_SUPERVISE_COMPLETE"
EPILOG = """
\b
Examples:
  kpf-supervise service/web 8080:http -n shop     as kubectl port-forward, until Ctrl-C
  kpf-supervise forwards.yaml                     keep the forwards of a file
  kpf-supervise --check forwards.yaml             only check the file
  kpf-supervise --check --live forwards.yaml      also ask the cluster whether it would work
  kpf-supervise --sandbox forwards.yaml           try it without a cluster
  kpf-supervise forwards.yaml -- make test        run a command while they are active
  kpf-supervise --init -n shop > forwards.yaml    begin with the services that are there
  kpf-supervise --import Procfile > forwards.yaml begin with what another tool has declared
  kpf-supervise --proxy 1080                      reach every service of the cluster through one local port

Exit codes: 0 done; 1 it failed; 2 usage or configuration; with a COMMAND, its own.
"""


@click.command(
    cls=CommandAfterDashes,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.argument(
    "words",
    nargs=-1,
    metavar="[CONFIG | TARGET [LOCAL:]REMOTE...] [-- COMMAND...]",
    shell_complete=late("complete_words"),
)
@click.option("-l", "--selector", help="Instead of a TARGET: a label selector, as for kubectl -l.")
@click.option(
    "-n", "--namespace", shell_complete=late("complete_namespaces"), help="Of the TARGET. Default: the context's."
)
@click.option(
    "--context", shell_complete=late("complete_contexts"), help="The kubeconfig's context. Default: the current one."
)
@click.option("--kubeconfig", type=click.Path(), metavar="FILE", help="Default: $KUBECONFIG, else ~/.kube/config.")
@click.option("--address", help='Where to listen: "localhost" (127.0.0.1 and ::1) or one IP address.')
@click.option("--lazy", is_flag=True, help="Start no kubectl before the first connection.")
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
    "--group",
    "groups",
    multiple=True,
    metavar="NAME",
    shell_complete=late("complete_groups"),
    help="Start only the forwards of this group of CONFIG; may be repeated. The others are listed as stopped.",
)
@click.option(
    "--init",
    is_flag=True,
    help="Print a CONFIG made from the services of a namespace, each a lazy forward. What can't be forwarded is a "
    "comment in it.",
)
@click.option("--sandbox", is_flag=True, help="Use the embedded sandbox cluster: it needs kubectl, but no Kubernetes.")
@click.option(
    "--proxy",
    callback=read_listen,
    metavar="[ADDRESS:]PORT",
    help="Reach every name of the cluster, such as web.shop, on this one local port: SOCKS5 and HTTP. Needs no CONFIG.",
)
@click.option(
    "--metrics",
    callback=read_listen,
    metavar="[ADDRESS:]PORT",
    help="Serve metrics for Prometheus (OpenMetrics) on this local port, under /metrics.",
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
@click.option("-V", "--version", is_flag=True, help="Print the version, its commit, and kubectl's version.")
def main(
    words: tuple[str, ...],
    command: tuple[str, ...] | None,
    selector: str | None,
    namespace: str | None,
    context: str | None,
    kubeconfig: str | None,
    address: str | None,
    lazy: bool,
    check: bool,
    live: bool,
    output: str | None,
    schema: bool,
    imported: Path | None,
    groups: tuple[str, ...],
    init: bool,
    sandbox: bool,
    proxy: tuple[str, int] | None,
    metrics: tuple[str, int] | None,
    kubectl: str | None,
    log_format: str,
    ready_timeout: float,
    keep_waiting: bool,
    socket: Path | None,
    persist: bool,
    detach: bool,
    no_panel: bool,
    version: bool,
) -> None:
    """Keep Kubernetes port-forwards: those that the YAML file CONFIG declares, or those of TARGET, which is written as
    for kubectl port-forward. Without either, CONFIG is ./kpf.yaml, else ~/.config/kpf-supervise/config.yaml.

    Every local port stays usable while kpf-supervise runs: a connection made while a pod restarts is held, not
    refused, and goes to the next ready pod.

    With a COMMAND: run it once all forwards are active, with KPF_<NAME>_HOST, KPF_<NAME>_PORT and KPF_<NAME>_ADDR in
    its environment. When it ends, stop everything and exit with its exit code.
    """
    if version:
        click.echo(f"kpf-supervise {described()}")
        click.echo(f"kubectl {described_kubectl(chosen_kubectl(kubectl, None, None)[1])}")
        return
    from kpf_supervise.cli.words import Options, placed, read
    from kpf_supervise.config.errors import ConfigError
    from kpf_supervise.config.schema import schema as schema_of_file
    from kpf_supervise.loading.loader import load

    if schema:
        click.echo(json.dumps(schema_of_file(), indent=2))
        return
    if imported is not None:
        if words or command:
            raise click.UsageError("--import takes one FILE, and no CONFIG or COMMAND")
        from kpf_supervise.cli.importing import print_imported

        sys.exit(print_imported(imported))
    if live and not check:
        raise click.UsageError("--live belongs to --check: kpf-supervise --check --live forwards.yaml")
    if output and not live:
        raise click.UsageError("--output belongs to --check --live")
    options = Options(selector, namespace, context, kubeconfig, address, lazy)
    if init:
        if words or command or check:
            raise click.UsageError("--init takes no CONFIG, TARGET or COMMAND: it prints a CONFIG")
        from kpf_supervise.cli.inspecting import print_made

        place = placed(options)
        binary = runnable_kubectl(kubectl, None, None)
        sys.exit(print_made(binary, place.cluster, place.namespace, sandbox))
    asked = read(words, command or (), options, needs_none=sandbox or proxy is not None)
    config, command = asked.file, asked.command
    try:
        settings = load(config, pipe=True) if config is not None else asked.config
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    check_groups(groups, settings.groups)
    if check and not live:
        click.echo(f"{config or 'the command line'}: valid; it declares {settings.summary}")
        return

    binary = runnable_kubectl(kubectl, config, settings.kubectl)
    if live:
        from kpf_supervise.cli.inspecting import print_live

        of_group = settings.only(groups)
        sys.exit(print_live(binary, of_group, config, socket or settings.socket, sandbox, output or "table"))
    if detach:
        if command:
            raise click.UsageError("--detach can't be combined with a COMMAND: the instance ends when the COMMAND ends")
        if config is not None and settings.mark is None:
            raise click.UsageError("--detach reads CONFIG twice, and a pipe is read only once. Name a file")
        from kpf_supervise.runtime.detach import detach as start_apart

        arguments = [word for word in sys.argv[1:] if word != "--detach"]
        sys.exit(start_apart(arguments, config, settings.forwards))

    import trio

    from kpf_supervise.app import Job, run
    from kpf_supervise.runtime.environment import alike
    from kpf_supervise.runtime.paths import has_terminal

    if command and (pair := alike(each.id for each in settings.only(groups).forwards if each.enabled)):
        raise click.UsageError(f"{pair[0]} and {pair[1]} would share their KPF_… variables: rename one")
    job = Job(
        config=settings,
        path=config,
        found=asked.found,
        kubectl=binary,
        log_format=log_format,
        groups=groups,
        sandbox=sandbox,
        proxy=proxy,
        metrics=metrics,
        socket=socket or settings.socket,
        persist=persist or settings.persist,
        command=command,
        ready_timeout=ready_timeout,
        keep_waiting=keep_waiting,
        panel=not no_panel and not command and log_format == "text" and has_terminal(),
    )
    sys.exit(trio.run(run, job))


def program(name: str = "kpf-supervise") -> None:
    """Run the command, which was called by this name. A signal before the run ends the program at once; after it,
    signals are ignored."""
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in stops:
        signal.signal(number, lambda *_: os._exit(0))
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # prints ? for a character that Latin-1, for example, lacks
    if _COMPLETE in os.environ:  # the shell asks
        import kpf_supervise.shell_completion.shells  # noqa: F401  tells click how to answer
    try:
        main(prog_name=name, complete_var=_COMPLETE)
    finally:
        for number in stops:
            signal.signal(number, signal.SIG_IGN)
