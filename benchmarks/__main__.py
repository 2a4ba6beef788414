"""`make bench`: compares kpf-supervise with raw kubectl and the peers on PyPI, in one run. Prints Markdown tables.

Each figure is measured on all tools one right after the other, in rounds with changing order, or on all at the same
time, so that a busy machine affects all alike. The tables show medians with their range, followed by the median and
range of the ratios to the first column.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import click
import trio

from . import far, footprint, many, panel, proxy, recovery, services, settings, transfer, watch
from .tools import OURS, RAW, Place, Tool, usable_peers

PARTS = ("transfer", "settings", "recovery", "footprint", "many", "watch", "far", "login", "panel", "services", "proxy")
_BACK = 30.0  # seconds for a pod of a real cluster to come back
ANYWHERE = ("transfer", "footprint", "many")  # parts that need no sandbox and harm no cluster


@contextmanager
def sandbox(*words: str) -> Iterator[str]:
    """Run a sandbox cluster in its own process. Yields the path of its kubeconfig."""
    command = [sys.executable, "-m", "kpf_supervise.sandbox", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().removeprefix("KUBECONFIG=")
        finally:
            process.send_signal(signal.SIGINT)


class Bench:
    """The parts of the benchmark. Each returns its tables."""

    def __init__(
        self, place: Place, rounds: int, megabytes: int, with_peers: bool, victim: recovery.Victim | None
    ) -> None:
        self.place, self.rounds, self.size = place, rounds, megabytes * 1_000_000
        self.victim = victim
        self.notes: list[str] = []
        self._with_peers = with_peers

    @cached_property
    def peers(self) -> list[Tool]:
        found, notes = usable_peers(self.place) if self._with_peers else ([], [])
        self.notes += notes
        return found

    def transfer(self) -> list[str]:
        return transfer.tables(self.place, [RAW, OURS, *self.peers], self.rounds, connections=200, size=self.size)

    def settings(self) -> list[str]:
        tables, notes = settings.tables(self.place, self.rounds, self.size)
        self.notes += notes
        return tables

    def recovery(self) -> list[str]:
        if self.victim:
            return [trio.run(recovery.lost, self.place, self.victim, self.peers, self.rounds)]
        with sandbox("--real-times") as kubeconfig:
            place = replace(self.place, kubeconfig=kubeconfig)
            lost = trio.run(recovery.lost, place, recovery.Victim(), self.peers, self.rounds)
        return [lost, trio.run(recovery.held, self.place, max(9, self.rounds))]

    def footprint(self) -> list[str]:
        return footprint.tables(self.place, [RAW, OURS, *self.peers], self.rounds)

    def many(self) -> list[str]:
        return many.tables(self.place, self.rounds)

    def services(self) -> list[str]:
        with sandbox(f"--services={services.FEW - 1}") as few, sandbox(f"--services={services.MANY - 1}") as many:
            return services.tables(
                replace(self.place, kubeconfig=many), replace(self.place, kubeconfig=few), self.rounds
            )

    def watch(self) -> list[str]:
        return trio.run(watch.tables, self.place, self.rounds)

    def far(self) -> list[str]:
        return trio.run(far.far, self.place, self.peers, self.rounds)

    def login(self) -> list[str]:
        return trio.run(far.login, self.place, self.peers, self.rounds)

    def panel(self) -> list[str]:
        return panel.tables(self.place, self.rounds, self.size)

    def proxy(self) -> list[str]:
        return proxy.tables(self.place, self.rounds, self.size)


def chosen(context: click.Context, option: click.Parameter, value: str | None) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in (value or ",".join(PARTS)).split(","))
    for part in parts:
        if part not in PARTS:
            raise click.BadParameter(f"there is no part {part}. The parts are: {', '.join(PARTS)}", context, option)
    return parts


@click.command()
@click.option("--kubectl", default=lambda: os.environ.get("KUBECTL", "kubectl"), help="The kubectl to measure.")
@click.option("--only", metavar="PART,…", callback=chosen, help=f"Parts of it: {', '.join(PARTS)}.")
@click.option("--rounds", default=5, show_default=True, help="How often each is measured.")
@click.option("--megabytes", default=300, show_default=True, help="Size of each download.")
@click.option("--peers/--no-peers", default=True, help="Whether to install and measure the peers that PyPI has.")
@click.option("--target", help="On the cluster of $KUBECONFIG, not the sandbox: a service/NAME whose pods speak HTTP.")
@click.option("--port", default="80", show_default=True, help="Its port, with --target.")
@click.option("--disturb", metavar="DEPLOYMENT", help="With --target: delete the pods of this one, and roll it out.")
@click.option("--namespace", default="default", show_default=True, help="Where it is, with --target.")
def main(
    kubectl: str,
    only: tuple[str, ...],
    rounds: int,
    megabytes: int,
    peers: bool,
    target: str | None,
    port: str,
    disturb: str | None,
    namespace: str,
) -> None:
    """Compare kpf-supervise with raw kubectl and other tools."""
    kubeconfig = os.environ.get("KUBECONFIG")
    if target and not kubeconfig:
        raise click.UsageError("--target is for the cluster of $KUBECONFIG, and that is not set")
    if kubeconfig and not target:
        click.echo("On the sandbox cluster. For that of $KUBECONFIG: --target service/NAME --port PORT\n", err=True)
    if disturb and not target:
        raise click.UsageError("--disturb is for the cluster of --target; the sandbox is disturbed anyway")
    usable = PARTS if not target else (*ANYWHERE, "recovery") if disturb else ANYWHERE
    parts = [part for part in PARTS if part in usable and part in only]
    with tempfile.TemporaryDirectory(prefix="kpf") as folder, sandbox(f"--services={many.FORWARDS}") as own:
        place = Place(shutil.which(kubectl) or kubectl, own, Path(folder), several=True)
        if target and kubeconfig:
            place = replace(
                place,
                kubeconfig=kubeconfig,
                namespace=namespace,
                target=target,
                port=port,
                container_port=port,
                several=False,
            )
        victim = recovery.Victim(disturb.removeprefix("deployment/"), _BACK) if disturb else None
        bench = Bench(place, rounds, 0 if target else megabytes, peers, victim)
        answer = json.loads(subprocess.check_output([place.kubectl, "version", "--client", "-o", "json"]))
        version, machine = answer["clientVersion"]["gitVersion"], f"{platform.system()}, {os.cpu_count()} cores"
        where = "the cluster of $KUBECONFIG" if target else "the sandbox cluster"
        click.echo(f"{datetime.now(UTC):%Y-%m-%d}, kubectl {version}, {machine}, {where}, medians of {rounds}\n")
        for part in parts:
            run: Callable[[], list[str]] = getattr(bench, part)
            for table in run():
                click.echo(table)
        click.echo("".join(f"- {note}\n" for note in bench.notes))


if __name__ == "__main__":
    main()
