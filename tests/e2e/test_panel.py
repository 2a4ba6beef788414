"""The panel in a pseudo-terminal: the real program, on the sandbox, with real kubectl."""

from __future__ import annotations

import os
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
from tests.program import get, supervising
from tests.terminal import Terminal, in_terminal

NEWEST = KUBECTLS[-1]
CONFIG = """
    forwards:
      web: {target: service/web, ports: ":http"}
      db: {target: statefulset/db, ports: ":http"}
      search: {selector: "app=search", ports: ":9200", lazy: true}
    """


STATES = """
    reconnect: {initial: 10m, max: 10m}
    forwards:
      good: {target: service/web, ports: ":http"}
      lazy: {target: service/web, ports: ":http", lazy: true}
      none: {target: pod/pending, ports: "0:80"}
      wrong: {target: pod/nosuch, ports: "0:80"}
      off: {target: service/web, ports: ":http", enabled: false}
    """


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


def cell(terminal: Terminal, name: str, title: str) -> str:
    """What stands in a row below a column's title."""
    head = next(line for line in terminal.lines if line.startswith(" NAME"))
    return row(terminal, name)[head.index(title) :].split()[0]


async def test_it_shows_each_state_in_words(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        config = STATES.replace("reconnect: ", "defaults: {reconnect: ").replace("10m}", "10m}}")
        async with panel(tmp_path, cluster, config) as terminal:
            shown = await terminal.shows(lambda text: "● active" in text and "✗ failed" in text)
            assert "kpf-supervise · config.yaml · sandbox" in shown.splitlines()[0]
            assert "1 active · 1 failed · 1 waiting · 1 idle · 1 stopped" in shown.splitlines()[0]
            for name, sign in {
                "good": "● active",
                "lazy": "○ idle",
                "none": "◔ waiting",
                "wrong": "✗ failed",
                "off": "■ stopped",
            }.items():
                assert sign in row(terminal, name)
            cluster.faults.hang_upgrade()
            (child,) = [p for p in psutil.Process(terminal.process.pid).children() if "port-forward" in p.cmdline()]
            child.kill()
            await terminal.shows("◌ connecting")
            cluster.faults.clear()
            cluster.faults.refuse_upgrade(503)
            await terminal.shows(lambda text: "◐ reconnecting" in text)


async def test_a_pod_is_deleted_and_the_row_passes_through_the_true_states(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        cluster.scale("deployment/web", 1)
        async with panel(tmp_path, cluster) as terminal:
            await terminal.shows(lambda _: "● active" in row(terminal, "web") and "● active" in row(terminal, "db"))
            cluster.scale("deployment/web", 0)
            shown = await terminal.shows(lambda _: "◔ waiting" in row(terminal, "web"))
            assert "● active" in row(terminal, "db")
            assert "service/web has no ready pod" in shown
            cluster.scale("deployment/web", 1)
            await terminal.shows(lambda _: "● active" in row(terminal, "web"))
            assert terminal.text.count("web-") >= 2  # the row, and the events


async def test_a_click_on_stop_all_stops_all_and_its_key_does_too(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with panel(tmp_path, cluster) as terminal:
            await terminal.shows("2 active")
            terminal.click("Stop all")
            await terminal.shows("3 stopped")
            assert [p for p in psutil.Process(terminal.process.pid).children() if "port-forward" in p.cmdline()] == []
            terminal.type("s")  # starts the chosen one again
            await terminal.shows("1 active")
            terminal.type("S")
            await terminal.shows("3 stopped")
            assert terminal.process.poll() is None


async def test_keys_and_clicks_reach_the_chosen_forward(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with panel(tmp_path, cluster) as terminal:
            await terminal.shows("2 active")
            terminal.type("\x1b[Bs")  # down, stop
            await terminal.shows(lambda _: "■ stopped" in row(terminal, "db"))
            assert "● active" in row(terminal, "web")
            terminal.type("r")
            await terminal.shows(lambda _: "● active" in row(terminal, "db"))
            terminal.click(" web ")
            terminal.type("l")
            await terminal.shows("Forwarding from 127.0.0.1:")
            terminal.type("\x1b")
            await terminal.shows("NAME")
            terminal.type("\r")
            details = await terminal.shows("port-forward --address=127.0.0.1")
            assert "namespace    dev" in details
            terminal.click("Close")
            await terminal.shows("NAME")
            terminal.type("/sea\r")
            await terminal.shows(lambda _: not row(terminal, "db") and bool(row(terminal, "search")))
            terminal.type("\x1b")
            await terminal.shows(lambda _: bool(row(terminal, "db")))
            terminal.type("?")
            await terminal.shows("one page down")


async def test_bytes_and_connections_are_counted_and_quitting_asks_while_some_are_open(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with panel(tmp_path, cluster) as terminal:
            await terminal.shows("2 active")
            port = int(row(terminal, "web").split("localhost:")[1].split()[0])
            assert len(await get(port, "/bytes/5000000")) == 5_000_000
            await terminal.shows("5.0M")
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                await stream.receive_some()
                await terminal.shows(lambda _: cell(terminal, "web", "CONN") == "1")
                terminal.type("q")
                await terminal.shows("1 connection is open. Quit and stop all?")
                terminal.type("n")
                await terminal.shows("Enter Details")
                terminal.type("qy")
                with trio.fail_after(20):
                    assert await terminal.process.wait() == 0


async def test_no_color_shows_states_without_one(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with panel(tmp_path, cluster, NO_COLOR="1") as terminal:
            await terminal.shows("2 active")
            colours = {cell.fg for line in terminal.screen.buffer.values() for cell in line.values()}
            assert colours <= {"default"}


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
                    terminal.type("s")
                    await terminal.shows("■ stopped")
                    assert (await peer.list())["web"]["state"] == "stopped"
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


async def test_fifty_rows_scroll(tmp_path: Path) -> None:
    rows = "".join(f'  f{number:02}: {{target: service/web, ports: ":http", lazy: true}}\n' for number in range(50))
    async with open_cluster(tmp_path) as cluster:
        async with panel(tmp_path, cluster, f"forwards:\n{rows}", columns=80) as terminal:
            await terminal.shows("50 idle")
            assert "f00" in terminal.text
            assert "f49" not in "\n".join(terminal.lines[:-12])
            terminal.type("\x1b[F")  # End
            await terminal.shows(lambda text: any(line.startswith(" f49 ") for line in text.splitlines()))
            terminal.type("\x1b[5~")  # Page Up
            await terminal.shows(lambda _: not row(terminal, "f49") or bool(row(terminal, "f30")))
            terminal.type("\x1b[H")
            await terminal.shows(lambda _: bool(row(terminal, "f00")))
            assert all(len(line) <= 80 for line in terminal.lines)


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
            assert b"\a" not in terminal.raw
            cluster.scale("deployment/web", 0)
            cluster.scale("deployment/search", 0)
            await terminal.shows("2 waiting")
            with trio.fail_after(20):
                while b"\a" not in terminal.raw or not told.exists() or "search was lost" not in told.read_text():
                    await trio.testing.wait_all_tasks_blocked(0.02)  # a file sends no event
            assert "web" not in told.read_text().replace("kpf-supervise", "")
