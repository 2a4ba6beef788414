"""The panel in a pseudo-terminal: the real program, on the sandbox, with real kubectl. The keys are tested with a
pretended instance in tests/panel; here is what needs a cluster, a file or a terminal."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import trio
import trio.testing

from kpf_supervise.sandbox import Cluster, open_cluster
from tests.kubectls import KUBECTLS
from tests.program import get, supervising, until
from tests.terminal import Terminal, in_terminal

NEWEST = KUBECTLS[-1]
CONFIG = """
    forwards:
      web: {target: service/web, ports: ":http"}
      db: {target: statefulset/db, ports: ":http"}
      search: {selector: "app=search", ports: ":9200", lazy: true}
    """
READY = "q Quit"  # stands in the footer once the panel takes keys and clicks


@asynccontextmanager
async def panel(
    folder: Path, cluster: Cluster, config: str = CONFIG, *words: str, columns: int = 120, **variables: str
) -> AsyncIterator[Terminal]:
    (folder / "config.yaml").write_text(textwrap.dedent(config))
    environment = {**os.environ, "HOME": str(folder), "KUBECONFIG": str(cluster.kubeconfig), **variables}
    if "NO_COLOR" not in variables:
        environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "kpf_supervise", str(folder / "config.yaml"), "--kubectl", NEWEST.path, *words]
    async with in_terminal(command, environment, columns) as terminal:
        yield terminal


@asynccontextmanager
async def shell(folder: Path, cluster: Cluster, typed: str) -> AsyncIterator[Terminal]:
    """A shell in which this was typed, with the program in the place of {}."""
    (folder / "config.yaml").write_text(textwrap.dedent(CONFIG))
    environment = {**os.environ, "HOME": str(folder), "KUBECONFIG": str(cluster.kubeconfig), "PS1": "$ "}
    async with in_terminal(["bash", "--norc", "-i"], environment) as terminal:
        await terminal.shows("$")
        program = folder / "program"
        program.write_text(
            f'#!/bin/sh\nexec {sys.executable} -m kpf_supervise {folder}/config.yaml --kubectl {NEWEST.path} "$@"\n'
        )
        program.chmod(0o755)
        (folder / "Makefile").write_text(f"demo:\n\t@exec {program}\n")
        terminal.type(f"{typed.format(program)}\r")
        yield terminal


def row(terminal: Terminal, name: str) -> str:
    return next((line for line in terminal.lines if line.startswith(f" {name} ")), "")


async def port_of(terminal: Terminal, name: str) -> int:
    """Its local port, as soon as the row is drawn: the head of the table is first."""
    await terminal.shows(lambda _: "localhost:" in row(terminal, name))
    return int(row(terminal, name).split("localhost:")[1].split()[0])


def cell(terminal: Terminal, name: str, title: str) -> str:
    """What stands in a row below a column's title."""
    head = next(line for line in terminal.lines if line.startswith(" NAME"))
    return row(terminal, name)[head.index(title) :].split()[0]


def children(terminal: Terminal) -> list[psutil.Process]:
    """The running `kubectl port-forward`."""
    found = psutil.Process(terminal.process.pid).children()
    return [each for each in found if "port-forward" in each.cmdline()]


def rung(terminal: Terminal) -> bool:
    """Whether the bell has rung. The same character ends a sequence."""
    return b"\a" in re.sub(rb"\x1b\][^\a\x1b]*(\a|\x1b\\)", b"", bytes(terminal.raw))


async def test_a_pod_is_deleted_and_the_row_passes_through_the_true_states(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        cluster.scale("deployment/web", 1)
        async with panel(tmp_path, cluster) as terminal:
            await terminal.shows(lambda _: "● active" in row(terminal, "web") and "● active" in row(terminal, "db"))
            assert "kpf-supervise · config.yaml · sandbox" in terminal.lines[0]
            assert b"\x1b]8;" in terminal.raw  # the addresses are links
            cluster.scale("deployment/web", 0)
            await terminal.shows(lambda _: "◔ waiting" in row(terminal, "web"))
            assert "● active" in row(terminal, "db")
            await terminal.shows("service/web has no ready pod")
            cluster.scale("deployment/web", 1)
            await terminal.shows(lambda _: "● active" in row(terminal, "web"))


async def test_a_forward_is_begun_and_saved_and_all_are_stopped_and_started_again(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with panel(tmp_path, cluster) as terminal:
            await terminal.shows("2 active")
            await terminal.shows(READY)
            terminal.type("n")
            await terminal.shows("dev  of the context")
            terminal.type("dev\r")
            await terminal.shows("service/web  80 http, 9090 echo")
            terminal.type("service/web\r")
            await terminal.shows("9090  echo")
            terminal.type("9090\r")
            await terminal.shows("local port?")
            await terminal.shows(lambda text: "909" in text.split("local port?")[1])
            terminal.type("\r")
            await terminal.shows("start and add it to the file")
            terminal.type("\x1b[B\r")
            await terminal.shows("Add these lines to")
            terminal.type("y")
            await terminal.shows("web-9090 is in the file now")
            await terminal.shows("config.yaml has changed, and is applied")
            await terminal.shows("3 active")
            moved = [line for line in terminal.lines if "replaces the one that kpfctl started" in line]
            assert moved == []  # its connections are kept
            assert "web-9090:\n" in (tmp_path / "config.yaml").read_text()
            terminal.click("Stop all")
            await terminal.shows("4 stopped")
            assert children(terminal) == []
            terminal.type("X")
            await terminal.shows("3 active")
            terminal.type("l")
            await terminal.shows("Forwarding from 127.0.0.1:")
            terminal.type("\x1b")
            await terminal.shows("NAME")
            terminal.type("\r")
            assert "namespace    dev" in await terminal.shows("--address=127.0.0.1 pod/web-")


async def test_the_file_is_edited_in_the_editor_and_a_mistake_in_it_is_shown(tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    change = "sed -i 's/web: {target/web: {trget/' \"$2\""
    editor.write_text(f"#!/bin/sh\necho editing\nread -r line\n{change}\n")
    editor.chmod(0o755)
    async with open_cluster(tmp_path) as cluster:
        async with panel(tmp_path, cluster, EDITOR=f"{editor} -x", VISUAL="") as terminal:
            await terminal.shows("2 active")
            await terminal.shows(READY)
            port = await port_of(terminal, "web")
            terminal.type("E")
            await terminal.shows("editing")
            assert terminal.given_back()
            assert (await get(port)).startswith(b"web-")
            terminal.type("by hand\r")
            await terminal.shows("The file is wrong, and was not applied. E opens it.")
            await terminal.shows(lambda text: 'forwards.web.trget: unknown key "trget"' in " ".join(text.split()))
            assert os.tcgetpgrp(terminal.fd) == terminal.process.pid
            terminal.type("E")
            await terminal.shows(lambda _: terminal.given_back() and terminal.raw.count(b"editing") == 2)
            terminal.type("\x03")  # ends the editor alone
            await terminal.shows(READY)
            (tmp_path / "config.yaml").write_text(textwrap.dedent(CONFIG))
            await terminal.shows(lambda text: "The file is wrong" not in text)
            terminal.type("m")
            await terminal.shows("the mouse selects text")
            await terminal.shows(lambda _: terminal.raw.rfind(b"\x1b[?1000l") > terminal.raw.rfind(b"\x1b[?1000h"))
            terminal.type("m")
            await terminal.shows("the mouse is the panel's again")


async def test_bytes_and_connections_are_counted_and_quitting_asks_while_some_are_open(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with panel(tmp_path, cluster, columns=160, NO_COLOR="1") as terminal:
            await terminal.shows("2 active")
            port = await port_of(terminal, "web")
            assert len(await get(port, "/bytes/5000000")) == 5_000_000
            await terminal.shows("5.0M")
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                await stream.receive_some()
                await terminal.shows(lambda _: cell(terminal, "web", "CONN") == "1")
                terminal.type("\r")
                await terminal.shows(f"127.0.0.1:{stream.socket.getsockname()[1]}, ")
                terminal.type("\x1b")
                await terminal.shows(READY)
                terminal.type("q")
                await terminal.shows("1 connection is open. Quit and stop all?")
                terminal.type("n")
                await terminal.shows(lambda text: "Quit and stop" not in text)
                colours = {cell.fg for line in terminal.screen.buffer.values() for cell in line.values()}
                assert colours <= {"default"}  # NO_COLOR
                terminal.type("q")
                await terminal.shows("1 connection is open. Quit and stop all?")
                terminal.type("y")
                with trio.fail_after(20):
                    assert await terminal.process.wait() == 0


async def test_no_panel_and_pipes_get_lines(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with panel(tmp_path, cluster, CONFIG, "--no-panel") as terminal:
            await terminal.shows("web              active        localhost:")
            assert b"\x1b[?1049h" not in terminal.raw


async def test_kpfctl_panel_is_the_same_and_leaves_the_instance_running(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kpf_supervise.kpfctl", "panel"]
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, CONFIG) as instance, instance.peer() as peer:
            await instance.all_active("web", "db")
            assert (await instance.ctl("panel")).returncode == 2  # no terminal
            for way in ("q", "\x03"):
                async with in_terminal(command, instance.environment) as terminal:
                    before = terminal.settings()
                    await terminal.shows("2 active")
                    await terminal.shows(READY)
                    terminal.type("s")
                    await terminal.shows("■ stopped")
                    assert (await peer.list())["web"]["state"] == "stopped"
                    await terminal.shows("s Start")
                    terminal.type("s")
                    await terminal.shows("2 active")
                    terminal.type(way)
                    with trio.fail_after(20):
                        assert await terminal.process.wait() == 0
                    assert terminal.settings() == before
                    await terminal.shows(lambda _: terminal.given_back())
            async with in_terminal(command, instance.environment) as terminal:
                await terminal.shows("2 active")
                await peer.call("shutdown")
                await terminal.shows("kpfctl: the instance has ended")
                await terminal.shows(lambda _: terminal.given_back())


async def test_the_bell_rings_for_a_lost_forward_and_the_desktop_is_told(tmp_path: Path) -> None:
    told = tmp_path / "told"
    notifier = tmp_path / "notify-send"
    notifier.write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
    notifier.chmod(0o755)
    config = """
        forwards:
          web: {target: deployment/web, ports: ":http", notify: bell}
          search: {target: deployment/search, ports: ":9200", notify: desktop}
        """
    async with open_cluster(tmp_path) as cluster:
        async with panel(tmp_path, cluster, config, PATH=f"{tmp_path}:{os.environ['PATH']}") as terminal:
            await terminal.shows("2 active")
            assert not rung(terminal)
            cluster.scale("deployment/web", 0)
            cluster.scale("deployment/search", 0)
            await terminal.shows("2 waiting")
            await until(lambda: rung(terminal) and told.exists() and "search was lost" in told.read_text())
            assert "web" not in told.read_text().replace("kpf-supervise", "")
