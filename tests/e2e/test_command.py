"""`kpf-supervise CONFIG -- COMMAND`: what CI jobs use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import psutil
import pytest
import trio
import trio.testing

from kpf_supervise.cli.program import main
from kpf_supervise.runtime.environment import alike, variables
from kpf_supervise.sandbox import Cluster, open_cluster
from tests import preforked
from tests.kubectls import KUBECTLS
from tests.program import Instance, supervising, until

NEWEST = KUBECTLS[-1]
CONFIG = """
forwards:
  web: {target: service/web, ports: [":http", ":echo"]}
  db: {target: statefulset/db, ports: ":http"}
  search: {selector: "app=search", ports: ":9200", lazy: true}
"""


async def run(folder: Path, cluster: Cluster, config: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    file = folder / "config.yaml"
    file.write_text(config)
    command = ["-m", "kpf_supervise", str(file), "--kubectl", NEWEST.path, *words]
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "HOME": str(folder)}
    with trio.fail_after(30):
        return await preforked.run(*command, env=environment)


async def test_the_command_finds_the_forwards_and_its_code_is_ours(tmp_path: Path) -> None:
    script = (
        "import os, urllib.request as r\n"
        "for name in ('WEB_HTTP', 'DB', 'SEARCH'):\n"
        "    print(name, r.urlopen('http://' + os.environ[f'KPF_{name}_ADDR']).read().decode().strip())\n"
        "print(os.environ['KPF_DB_HOST'], os.environ['KPF_DB_PORT'].isdecimal())\n"
        "raise SystemExit(7)\n"
    )
    async with open_cluster(tmp_path) as cluster:
        done = await run(tmp_path, cluster, CONFIG, "--", sys.executable, "-c", script)
    web, db, search, rest = done.stdout.decode().splitlines()
    assert web.startswith("WEB_HTTP web-")
    assert db == "DB db-0"
    assert search.startswith("SEARCH search-")
    assert rest == "localhost True"
    assert done.returncode == 7, done.stderr
    assert done.stderr.count(b" stopped ") == 4


async def test_what_is_not_ready_in_time_is_named_and_the_command_never_runs(tmp_path: Path) -> None:
    config = CONFIG + '  api: {target: pod/pending, ports: "0:80"}\n'
    async with open_cluster(tmp_path) as cluster:
        done = await run(tmp_path, cluster, config, "--ready-timeout=4", "--", "touch", str(tmp_path / "ran"))
    assert done.returncode == 1
    assert b"api is waiting after 4 s: pod/pending has no ready pod: pod pending is ImagePullBackOff" in done.stderr
    assert not os.path.exists(tmp_path / "ran")


async def test_a_failure_that_is_final_is_not_waited_out(tmp_path: Path) -> None:
    config = CONFIG + '  api: {target: service/nosuch, ports: ":80"}\n'
    async with open_cluster(tmp_path) as cluster:
        done = await run(tmp_path, cluster, config, "--ready-timeout=1h", "--", "touch", str(tmp_path / "ran"))
        assert done.returncode == 1
        (line,) = [line for line in done.stderr.splitlines() if b"does not come back by itself" in line]
        assert b'api has failed, and does not come back by itself: there is no service "nosuch" in namespace' in line
        assert b". See: kubectl " in line, "the next step"
        words = ["--keep-waiting", "--ready-timeout=3", "--", "touch", str(tmp_path / "ran")]
        begun = trio.current_time()
        done = await run(tmp_path, cluster, config, *words)
        assert trio.current_time() - begun >= 3
        assert done.returncode == 1
        assert b"api is failed after 3 s: " in done.stderr
    assert not os.path.exists(tmp_path / "ran")


@pytest.mark.parametrize(
    ("text", "seconds"), [("5", 5), ("5s", 5), ("1.5", 1.5), ("1m30s", 90), ("0", 0), ("500ms", 0.5)]
)
def test_ready_timeout_is_a_duration_or_seconds(text: str, seconds: float) -> None:
    assert main.make_context("", ["f", f"--ready-timeout={text}"]).params["ready_timeout"] == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "", "nan", "inf"])
def test_a_ready_timeout_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"is not a duration|negative"):
        main.make_context("", ["f", f"--ready-timeout={text}"])


@pytest.mark.parametrize(("words", "code"), [(["no-such-command"], 127), (["/"], 126), (["sh", "-c", "kill $$"], 143)])
async def test_exit_codes_are_a_shells(words: list[str], code: int, tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        done = await run(tmp_path, cluster, CONFIG, "--", *words)
    assert done.returncode == code, done.stderr


async def test_a_signal_goes_to_the_command_and_all_ends_with_it(tmp_path: Path) -> None:
    script = "trap 'exit 5' TERM; touch ready; while :; do sleep 0.05; done"
    words = ["--", "sh", "-c", f"cd {tmp_path}; {script}"]
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, CONFIG, *words) as instance:
            await instance.all_active("web/http", "web/echo", "db")
            await until((tmp_path / "ready").exists)
            processes = instance.children()
            assert await instance.stop(signal.SIGTERM) == 5
            assert [p for p in processes if p.is_running()] == []


@asynccontextmanager
async def commanding(folder: Path, script: str, ready: bool = True) -> AsyncIterator[Instance]:
    """An instance whose command is this script, which has touched `ready`; one that ignores SIGTERM has less GRACE."""
    if "trap ''" in script:
        (folder / "sitecustomize.py").write_text("import kpf_supervise.runtime.command as c\nc.GRACE = 1.0\n")
    words = ["--", "sh", "-c", f"cd {folder}; echo $$ > pid; {script}"]
    async with open_cluster(folder) as cluster:
        more = {"PYTHONPATH": str(folder)}
        config = CONFIG if ready else 'forwards: {it: {target: pod/pending, ports: "0:80"}}'
        async with supervising(folder, NEWEST, cluster.kubeconfig, config, *words, **more) as instance:
            await until(lambda: not ready or (folder / "ready").exists())
            yield instance


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("trap 'curl -s $KPF_DB_ADDR > answer; exit 5' TERM; touch ready; while :; do sleep 0.05; done", 5),
        ("touch ready; exec sleep 60", 143),
        ("trap '' TERM; touch ready; while :; do sleep 0.05; done", 137),
    ],
)
async def test_shutdown_ends_the_command_first_and_its_code_is_ours(script: str, code: int, tmp_path: Path) -> None:
    async with commanding(tmp_path, script) as instance:
        command = psutil.Process(int((tmp_path / "pid").read_text()))
        assert (await instance.ctl("shutdown")).returncode == 0
        assert not command.is_running(), "it outlives nobody, and kpfctl has waited for it"
        with trio.fail_after(20):
            assert await instance.process.wait() == code
    if code == 5:
        assert (tmp_path / "answer").read_text() == "db-0\n", "the forwards are there until it has ended"


async def test_shutdown_before_the_command_ran_is_a_failure(tmp_path: Path) -> None:
    async with commanding(tmp_path, "touch ready", ready=False) as instance, instance.peer() as peer:
        await instance.until("waiting", "it")
        await peer.call("shutdown")
        with trio.fail_after(20):
            assert await instance.process.wait() == 1
    assert not (tmp_path / "pid").exists()


def test_variables() -> None:
    assert variables("web.1/http", "0.0.0.0", 80) == {
        "KPF_WEB_1_HTTP_HOST": "127.0.0.1",
        "KPF_WEB_1_HTTP_PORT": "80",
        "KPF_WEB_1_HTTP_ADDR": "127.0.0.1:80",
    }
    assert variables("v6", "::", 81)["KPF_V6_ADDR"] == "[::1]:81"


def test_names_that_would_share_their_variables_are_found() -> None:
    assert alike(["web-1", "db", "web.1"]) == ("web-1", "web.1")
    assert alike(["web-1", "db"]) is None
