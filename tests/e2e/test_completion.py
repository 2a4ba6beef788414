"""Completion in real shells: Tab is pressed, and the test reads the screen."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kpf_supervise.sandbox import open_cluster, write_kubeconfig
from tests import preforked
from tests.kubectls import KUBECTLS
from tests.program import Instance, free_port, supervising
from tests.terminal import Terminal, in_terminal

NEWEST = KUBECTLS[-1]
BIN = Path(sys.executable).parent
EKS = "arn:aws:eks:eu-1:7:cluster/shop"
CONFIG = """
    forwards:
      web: {{target: service/web, ports: [":http", ":echo"], lazy: true}}
      search: {{target: service/search, ports: ":9200", lazy: true, groups: backend}}
      twice: {{target: service/web, ports: ["{first}:http", "{second}:http"], lazy: true}}
    """
SHELLS = {  # how it is started, and what sets completion up
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(kpfctl completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'eval "$(kpfctl completion zsh)"'),
    "fish": (
        ["fish", "--no-config", "-i"],
        "set fish_autosuggestion_enabled 0; kpfctl completion fish | source",
    ),
}
CLEAR = "\x15"  # Ctrl-U: removes what was typed


MODULES = {
    "kpfctl": ("kpf_supervise.kpfctl", "_KPFCTL_COMPLETE"),
    "kpf-supervise": ("kpf_supervise", "_KPF_SUPERVISE_COMPLETE"),
}


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[Instance, int]]:
    """An instance, and a local port of the forward `twice`."""
    first, second = free_port(), free_port()
    async with open_cluster(folder) as cluster:
        access = cluster.context({"token": "sandbox"})
        write_kubeconfig(cluster.kubeconfig, sandbox=access, **{EKS: access})
        config = CONFIG.format(first=first, second=second)
        async with supervising(folder, NEWEST, cluster.kubeconfig, config) as instance:
            await instance.told(lambda: len([e for e in instance.events if e["event"] == "idle"]) == 5)
            yield instance, first


@asynccontextmanager
async def completing(shell: str, folder: Path) -> AsyncIterator[tuple[Terminal, Instance, int]]:
    """The shell, with completion set up, beside an instance. The last value is a local port of the forward `twice`."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    command, setup = SHELLS[shell]
    async with running(folder) as (instance, port):
        environment = instance.environment
        environment |= {"PATH": f"{BIN}:{environment['PATH']}", "KUBECTL": NEWEST.path}
        async with in_terminal(command, environment) as terminal:
            terminal.type(f"{setup}; cd {folder}; echo set up | tr a-z A-Z\n")
            await terminal.shows("SET UP")
            yield terminal, instance, port


@pytest.mark.parametrize("shell", SHELLS)
async def test_tab_completes_what_was_begun(shell: str, tmp_path: Path) -> None:
    async with completing(shell, tmp_path) as (terminal, _, port):
        for begun, completed in [
            ("kpfctl des", "kpfctl describe "),
            ("kpfctl list --no-h", "kpfctl list --no-headers "),
            (f"kpfctl logs twice/{port}:h", f"kpfctl logs twice/{port}:http "),
            ("kpfctl restart search web/h", "kpfctl restart search web/http "),
            ("kpfctl start service/web 18080:ht", "kpfctl start service/web 18080:http "),
            ("kpfctl start --namespace=kube-s", "kpfctl start --namespace=kube-system "),
            ("kpfctl start --context arn:aws:ek", f"kpfctl start --context {EKS} "),
            (f"kpfctl start --context={EKS[:15]}", f"kpfctl start --context={EKS} "),
            ("kpfctl stop 'sea", "kpfctl stop 'search' "),
            (f"{BIN}/kpfctl des", f"{BIN}/kpfctl describe "),
            ("KPF_X=1 kpfctl stop sea", "KPF_X=1 kpfctl stop search "),
            ("true | kpfctl stop sea", "true | kpfctl stop search "),
            ("kpfctl -f ~/config.yaml stop sea", "kpfctl -f ~/config.yaml stop search "),
            ("kpf-supervise --log-format js", "kpf-supervise --log-format json "),
            ("kpf-supervise conf", "kpf-supervise config.yaml "),
            ("kpf-supervise config.yaml --group ba", "kpf-supervise config.yaml --group backend "),
            ("kpf-supervise service/web 8080:ht", "kpf-supervise service/web 8080:http "),
        ]:
            terminal.type(f"{begun}\t.")  # the dot shows that a blank follows
            await terminal.shows(f"{completed}.")
            terminal.type(CLEAR)


async def test_what_the_shells_are_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as (instance, _):
        for begun, choices in [
            ("kpfctl stop sea", ["search"]),
            ("kpfctl stop --group ba", ["backend"]),
            ("kpfctl start service/sea", ["service/search"]),
            ("kpfctl start svc/noe", ["svc/noendpoints"]),
            ("kpfctl start pod/db-", ["pod/db-0"]),
            ("kpfctl start service/web 18080:", [f"18080:{port}" for port in ("http", 80, "echo", 9090)]),
            ("kpfctl start service/db 54", ["5432:db"]),
            ("kpfctl start service/web :ec", [":echo"]),
            ("kpfctl start -l app=search 92", ["9200:http"]),
            ("kpfctl start -n da", ["data"]),
            ("kpfctl start --context sand", ["sandbox"]),
            ("kpfctl start --context arn", [EKS]),
            ("kpf-supervise svc/sea", ["svc/search"]),
            (f"kpf-supervise --context {EKS} -n kube-s", ["kube-system"]),
        ]:
            module, variable = MODULES[begun.split()[0]]
            asked = {variable: "bash_complete", "COMP_LINE": begun, "KUBECTL": NEWEST.path}
            done = await preforked.run("-m", module, env=instance.environment | asked)
            assert [line.split("\t")[:2] for line in done.stdout.decode().splitlines()] == [
                ["plain", each] for each in choices
            ], (begun, done)


@pytest.mark.parametrize("shell", SHELLS)
async def test_tab_shows_what_there_is(shell: str, tmp_path: Path) -> None:
    async with completing(shell, tmp_path) as (terminal, _, _):
        for begun, choices, described in [
            ("kpfctl stop web", ["web/http", "web/echo"], "all 2 ports"),
            ("kpfctl start service/", ["db", "noendpoints", "search", "web"], "db, http"),
            ("kpfctl start -n d", ["data", "default", "dev"], ""),
        ]:
            terminal.type(f"{begun}\t\t")
            for each in [*choices, described if shell != "bash" else ""]:  # bash has no place for descriptions
                await terminal.shows(each)
            terminal.type(f"{CLEAR}clear\n")


@pytest.mark.parametrize("shell", SHELLS)
async def test_without_an_instance_nothing_is_completed_and_nothing_is_said(shell: str, tmp_path: Path) -> None:
    async with completing(shell, tmp_path) as (terminal, instance, _):
        await instance.stop()
        terminal.type("kpfctl stop sea\t; echo DO\tNE | tr -d ' '\n")
        await terminal.shows("DONE")
        assert "Error" not in terminal.text
        assert "no instance" not in terminal.text.partition("DONE")[0].partition("stop sea;")[0]
