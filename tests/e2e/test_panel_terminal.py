"""The panel and its terminal: given back whole, stopped and continued, gone, or taking nothing."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import textwrap
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest
import trio
import trio.testing

from kpf_supervise.kubectl.process import lines
from kpf_supervise.sandbox import open_cluster
from tests.e2e.test_panel import CONFIG, NEWEST, READY, panel, port_of, shell
from tests.program import PATIENCE, get
from tests.terminal import Terminal

WAYS = {
    "q": lambda terminal: terminal.type("q"),
    "ctrl-c": lambda terminal: terminal.type("\x03"),
    "sigterm": lambda terminal: terminal.process.terminate(),
    "sighup": lambda terminal: terminal.process.send_signal(signal.SIGHUP),
}


@pytest.mark.parametrize("way", WAYS)
async def test_the_terminal_is_given_back_whole(way: str, tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with panel(tmp_path, cluster) as terminal:
            before = terminal.settings()
            await terminal.shows("2 active")
            assert terminal.settings() != before
            terminal.resize(20, 5)
            await terminal.shows(lambda text: "active" in text and len(text.splitlines()) == 5)
            terminal.resize(100, 24)
            await terminal.shows(READY)
            processes = psutil.Process(terminal.process.pid).children()
            WAYS[way](terminal)
            with trio.fail_after(20):
                assert await terminal.process.wait() == 0
            assert terminal.settings() == before
            await terminal.shows(lambda _: terminal.given_back())
            assert [each for each in processes if each.is_running()] == []


WRAPPERS = {
    "none": "{}",
    "sh": "sh -c '{}; true'",
    "make": "make -C $HOME demo",
    "python": "python3 -c \"import subprocess; subprocess.call(['{}'])\"",
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
async def test_after_ctrl_z_the_shell_has_the_terminal_and_after_fg_the_panel(wrapper: str, tmp_path: Path) -> None:
    """Whoever stands between the shell and the program is stopped, too, and not before the terminal is given back."""
    async with open_cluster(tmp_path) as cluster:
        async with shell(tmp_path, cluster, WRAPPERS[wrapper]) as terminal:  # only a shell can have a stopped job
            await terminal.shows("2 active")
            await terminal.shows(READY)
            for number in (6, 7) if wrapper == "none" else (6,):
                terminal.type("\x1a")
                await terminal.shows(lambda text: "Stopped" in text and "2 active" not in text)
                assert terminal.given_back()
                terminal.type(f"echo forty$(({number}*7))\r")
                await terminal.shows(f"forty{number * 7}")
                terminal.type("clear; fg\r")
                await terminal.shows(lambda text: "2 active" in text and READY in text)
                terminal.type("?")  # it takes keys
                await terminal.shows("one page down")
                terminal.type("q")
                await terminal.shows(READY)
            terminal.type("q")
            await terminal.shows(lambda text: terminal.given_back() and text.rstrip().endswith("$"))
            terminal.type("echo forty$((6*8))\r")
            await terminal.shows("forty48")
            await terminal.shows(lambda _: terminal.given_back())
            terminal.type("exit\r")


BROKEN = "def broken(*_, **__): raise RuntimeError('no such luck')\n"
FAULTS = {
    "it cannot be loaded": "import sys; sys.modules['textual'] = None",
    "as it takes the terminal": "import kpf_supervise.panel.driver as d; d.TerminalDriver._set_modes = broken",
    "while it draws": "import kpf_supervise.panel.program as p; p.head = broken",
    "at a key": "import kpf_supervise.panel.program as p; p.Panel.action_help = broken",
    "killed": "",
    "stopped and killed": "",
}


@pytest.mark.parametrize("where", FAULTS)
async def test_a_panel_that_fails_leaves_lines_and_the_forwards_go_on(where: str, tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        fault = tmp_path / "sitecustomize.py"
        in_panel = "import sys\nif 'kpf_supervise.panel' in sys.orig_argv:\n"
        fault.write_text(in_panel + textwrap.indent(f"{BROKEN}{FAULTS[where] or 'pass'}\n", "    "))
        async with panel(tmp_path, cluster, PYTHONPATH=str(tmp_path)) as terminal:
            before = terminal.settings()
            sentence = "the panel has ended with exit code 1. The forwards go on, and"
            if where == "at a key":
                await terminal.shows(READY)
                terminal.type("?")
            elif where == "it cannot be loaded":
                sentence = "the library Textual can't be loaded"
            elif "killed" in where:
                await terminal.shows(READY)
                (shown,) = [p for p in psutil.Process(terminal.process.pid).children() if "--own" in p.cmdline()]
                if "stopped" in where:
                    shown.suspend()
                shown.kill()
                sentence = "the panel was killed by signal 9. The forwards go on, and"
            await terminal.says(sentence)
            if "exit code" in sentence:
                await terminal.shows("RuntimeError: no such luck")
                assert "╭" not in terminal.text  # no picture with the values of variables
            assert terminal.given_back()
            assert terminal.settings() == before
            if where == "it cannot be loaded":
                await terminal.says("search           idle")  # told before
            assert len(listening(terminal)) == 3
            for port in listening(terminal):
                assert re.match(b"web-|db-|search-", await get(port))
            terminal.process.send_signal(signal.SIGINT)
            with trio.fail_after(20):
                assert await terminal.process.wait() == 0
            await terminal.shows("web              stopped")


def listening(terminal: Terminal) -> list[int]:
    sockets = psutil.Process(terminal.process.pid).net_connections("tcp4")
    return [each.laddr.port for each in sockets if each.status == psutil.CONN_LISTEN]


async def test_a_terminal_that_is_gone_ends_the_panel_alone_while_stderr_is_a_pipe(tmp_path: Path) -> None:
    """It controls nobody, so no SIGHUP comes; the lines on the pipe go on, each once."""
    async with open_cluster(tmp_path) as cluster:
        (tmp_path / "config.yaml").write_text(textwrap.dedent(CONFIG))
        ours, theirs = pty.openpty()
        os.set_blocking(ours, False)
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "kpf_supervise", f"{tmp_path}/config.yaml", "--kubectl", NEWEST.path],
            env={**os.environ, "HOME": str(tmp_path), "KUBECONFIG": str(cluster.kubeconfig), "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        os.close(theirs)
        assert process.stderr is not None
        try:
            async with process.stderr, aclosing(lines(process.stderr)) as told:
                with trio.fail_after(PATIENCE):
                    shown = b""
                    while b"NAME" not in shown:  # the panel is drawn
                        await trio.lowlevel.wait_readable(ours)
                        shown += os.read(ours, 65536)
                    active = set[str]()
                    while not active >= {"web", "db"}:
                        words = (await anext(told)).decode().split()
                        active |= {words[1]} & {"web", "db"} if words[2] == "active" else set()
                    os.close(ours)
                    said = list[list[str]]()
                    for replicas, last in ((0, "waiting"), (1, "moved")):
                        cluster.scale("statefulset/db", replicas)
                        while not said or said[-1][1:3] != ["db", last]:
                            said.append((await anext(told)).decode().split())
                    process.terminate()
                    said += [line.decode().split() async for line in told]
                    assert await process.wait() == 0
                    of_db = [words[2] for words in said if words[1:2] == ["db"]]
                    assert of_db == ["waiting", "moved", "stopped"]  # each once
                    assert ["Traceback"] not in [words[:1] for words in said], "\n".join(map(" ".join, said))
        finally:
            process.kill()
            await process.wait()


async def test_a_terminal_that_takes_nothing_delays_only_the_drawing(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with panel(tmp_path, cluster) as terminal:
            await terminal.shows("2 active")
            await terminal.shows(READY)
            port = await port_of(terminal, "web")
            terminal.take_nothing()
            for number in range(40):  # each page is some kilobytes: more than a terminal keeps
                terminal.type("?" if number % 2 == 0 else "q")
                with trio.fail_after(5):
                    assert (await get(port)).startswith(b"web-")
            terminal.take_again()
            await terminal.shows(lambda text: READY in text and "one page down" not in text)
            terminal.take_nothing()
            terminal.type("?q?q?q?q?q?q?q?q?q?q?q?q?q?q?q?q?q?q?q?q")
            terminal.process.terminate()
            with trio.fail_after(10):
                assert await terminal.process.wait() == 0


async def test_a_job_in_the_background_goes_on_and_comes_back_with_fg(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with shell(tmp_path, cluster, "{}") as terminal:
            await terminal.shows("2 active")
            await terminal.shows(READY)
            port = await port_of(terminal, "web")
            terminal.type("\x1a")
            await terminal.shows("Stopped")
            terminal.type("bg; echo forty$((6*7))\r")
            await terminal.shows("forty42")
            with trio.fail_after(20):
                assert (await get(port)).startswith(b"web-")
            terminal.type("clear; fg\r")
            await terminal.shows(lambda text: "2 active" in text and READY in text)
            terminal.type("\x03")
            await terminal.shows(lambda text: terminal.given_back() and text.rstrip().endswith("$"))
            terminal.type("exit\r")


async def test_in_the_background_of_a_shell_it_prints_lines_and_runs_on(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with shell(tmp_path, cluster, "{} &") as terminal:
            await terminal.shows("db               active        localhost:")
            terminal.type("kill %1; wait; exit\r")
            await terminal.shows("is released")
