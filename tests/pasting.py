"""Pastes lines of the docs' shell blocks into a shell, with other local ports: those shown may be taken here."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from kpf_supervise.control.client import Client
from tests.conftest import NEWEST
from tests.kubectl_client import Running
from tests.program import PATIENCE, free_port, surroundings
from tests.test_docs import PAGES

BIN = Path(sys.executable).parent
STAND_INS = {  # for what the docs pipe into
    "jq": f"""#!{sys.executable}
import json, sys
for line in sys.stdin:
    print(json.dumps(json.loads(line)[sys.argv[1].removeprefix(".")]), flush=True)
""",
}
# localhost:PORT, proxy PORT, port: PORT, PORT, PORT:PORT or PORT:NAME; no port has a colon or a slash before it, as an
# id has
PORT = re.compile(r"(localhost:|proxy:? |port: |(?<![:/\w.-]))(\d{4,5})\b(:\w+)?")


def blocks(page: str, language: str = "sh") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.DOTALL)


def without_comments(block: str) -> list[str]:
    return [re.sub(r"\s+# .*", "", line) for line in block.splitlines()]


def shown(page: str) -> list[str]:
    """Each line of the page's shell blocks, without the comment behind it."""
    return [line for block in blocks(page) for line in without_comments(block)]


@dataclass
class Shell:
    """A folder and an environment for the lines of some pages."""

    folder: Path
    environment: dict[str, str]
    left: set[str]  # lines that are still to be pasted
    known: frozenset[str]
    ports: dict[str, int] = field(default_factory=dict)  # local port in the docs → the one in its place

    def local(self, text: str) -> str:
        """The text with free local ports in place of those that it names."""

        def other(found: re.Match[str]) -> str:
            host, port, remote = found.groups()
            while port not in self.ports:
                if (free := free_port()) not in self.ports.values():
                    self.ports[port] = free
            near = self.ports[port]
            return f"{host}{near}" if host else f"{near}{remote or f':{port}'}"

        return PORT.sub(other, text)

    def write(self, name: str, text: str) -> None:
        """Write a configuration that the lines name."""
        (self.folder / name).write_text(self.local(text))

    def _script(self, lines: tuple[str, ...]) -> str:
        assert set(lines) <= self.known, f"no page shows {set(lines) - self.known}"
        self.left -= set(lines)
        return self.local("\n".join(lines))

    async def paste(self, *lines: str, shell: str = "sh", then: str = "") -> str:
        """Run these lines, and what the test adds behind them, until they end. Returns what they print on stdout."""
        script = f"{self._script(lines)}\n{then}"
        with trio.fail_after(PATIENCE):
            done = await trio.run_process(
                [shell, "-e", "-c", script],
                cwd=self.folder,
                env=self.environment,
                stdin=b"",
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        assert done.returncode == 0, f"{script}\n{done.stdout.decode()}\n{done.stderr.decode()}"
        return done.stdout.decode()

    @asynccontextmanager
    async def keep(self, line: str) -> AsyncIterator[Running]:
        """Run a line without end during the block, and then press Ctrl-C: all of its processes get SIGINT. (exec: the
        exit code is the program's.)"""
        process = await trio.lowlevel.open_process(
            ["sh", "-e", "-c", f"exec {self._script((line,))}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        program = Running(process)
        assert process.stdout is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(program.read, process.stdout)
            try:
                yield program
            finally:
                with trio.CancelScope(shield=True), suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGINT)
                    with trio.move_on_after(PATIENCE):
                        await process.wait()
                    os.killpg(process.pid, signal.SIGKILL)
                nursery.cancel_scope.cancel()

    def command(self, line: str) -> list[str]:
        """The command that runs this line in a terminal."""
        return ["sh", "-e", "-c", self._script((line,))]

    async def call(self, method: str, **params: str) -> Any:
        """The result of a method of the only instance."""

        def ask() -> Any:
            (path,) = Path(self.environment["XDG_RUNTIME_DIR"], "kpf-supervise").glob("*.sock")
            with Client(path) as client:
                return client.call(method, **params)

        return await trio.to_thread.run_sync(ask)

    async def forwards(self) -> dict[str, dict[str, Any]]:
        return {each["id"]: each for each in await self.call("portforward:list")}


@asynccontextmanager
async def pasting(
    folder: Path, kubeconfig: Path | None, *pages: str, but: set[str], also: Iterable[str] = ()
) -> AsyncIterator[Shell]:
    """A shell for these pages. Every line that their blocks show, `but` some, has to be pasted into it; `also` may be,
    too."""
    tools = folder / "bin"
    tools.mkdir()
    (tools / "kubectl").symlink_to(NEWEST.path)
    for name, text in STAND_INS.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    lines = {line for page in pages for line in shown(page)}
    path = f"{tools}:{BIN}:{os.environ['PATH']}"
    assert shutil.which("curl", path=path), "the docs' blocks need curl"
    with tempfile.TemporaryDirectory(prefix="kpf") as runtime:
        environment = surroundings(folder, kubeconfig, XDG_RUNTIME_DIR=runtime, TMPDIR=str(folder), PATH=path)
        shell = Shell(folder, environment, lines - but, frozenset({*lines, *also}))
        yield shell
    assert shell.left == set(), f"shown, but not pasted: {shell.left}"
