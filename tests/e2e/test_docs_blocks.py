"""What the docs show is run as it is pasted: whole where it can be, elsewhere as far as its words are read."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import trio

from kpf_supervise.cli import main
from kpf_supervise.kpfctl import program
from kpf_supervise.kpfctl.group import main as ctl
from tests.conftest import NEWEST
from tests.program import PATIENCE, supervising
from tests.test_docs import PAGES, ROOT

BIN = Path(sys.executable).parent


def blocks(page: str) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", PAGES[page], re.DOTALL)


def lines() -> Iterator[str]:
    for page in PAGES:
        for block in blocks(page):
            yield from block.splitlines()


def calls(name: str) -> list[list[str]]:
    """The words of each call of a program in a block, without what the shell does with it."""
    found = []
    for line in lines():
        for part in re.findall(rf"(?:^|\$\(){name} ([^#|>&)\"]*(?:'[^']*')?)", line):
            found.append(shlex.split(part))
    return found


@pytest.mark.parametrize("words", calls("kpf-supervise"), ids=shlex.join)
def test_each_call_of_kpf_supervise_is_understood(words: list[str]) -> None:
    main.make_context("kpf-supervise", list(words))


@pytest.mark.parametrize("words", calls("kpfctl"), ids=shlex.join)
def test_each_call_of_kpfctl_is_understood(words: list[str]) -> None:
    assert program  # its verbs are read with it
    at = next(number for number, word in enumerate(words) if word in ctl.commands)
    parent = ctl.make_context("kpfctl", words[:at], resilient_parsing=True)
    ctl.commands[words[at]].make_context(words[at], words[at + 1 :], parent=parent)


def test_there_are_such_calls() -> None:
    assert len(calls("kpf-supervise")) >= 8
    assert len(calls("kpfctl")) >= 20


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def test_the_readmes_first_screen(tmp_path: Path) -> None:
    """Beside the demo, with other local ports: 8080 may be taken where the tests run."""
    (block,) = [block for block in blocks("README.md") if "kubectl delete pod" in block]
    port = str(free_port())
    example = (ROOT / "config.example.yaml").read_text().replace("8080:http", f"{port}:http")
    example = re.sub(r"(?m)^(\s+(?:- |ports: ))(\d{4})\b(?!:)", r'\g<1>":\g<2>"', example)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "kubectl").symlink_to(NEWEST.path)
    async with supervising(
        tmp_path, NEWEST, None, example, "--sandbox", TMPDIR=str(tmp_path), PATH=f"{folder}:{BIN}:{os.environ['PATH']}"
    ) as instance:
        await instance.all_active("web/http")
        script = block.replace("8080", port)
        with trio.fail_after(PATIENCE):
            done = await trio.run_process(
                ["sh", "-e", "-c", script.replace("curl", "curl -fsS --max-time 15")],
                env=instance.environment,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        assert done.returncode == 0, done.stderr.decode()
        answers = [line for line in done.stdout.decode().splitlines() if line.startswith("web-")]
        assert len(answers) == 2
        assert answers[0] != answers[1]
        listed = await instance.ctl("list")
        assert "web/http" in listed.stdout


def test_the_readmes_file_is_right(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGES["README.md"], re.DOTALL)
    (tmp_path / "forwards.yaml").write_text(text)
    shown = [line.partition("#")[0] for line in lines() if line.startswith("kpf-supervise --check")]
    assert shown
    for line in shown:
        done = subprocess.run(
            [str(BIN / "kpf-supervise"), *shlex.split(line)[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, "valid; it declares 3 forwards" in done.stdout) == (0, True), done.stderr


def test_every_command_of_the_programs_has_a_call_that_is_shown() -> None:
    shown = {word for words in calls("kpfctl") for word in words}
    assert isinstance(ctl, click.Group)
    assert set(ctl.commands) <= shown
