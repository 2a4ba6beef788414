"""`kpf-supervise CONFIG -- COMMAND`: what CI jobs use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from supervisor.sandbox import Cluster, open_cluster
from supervisor.variables import alike, variables

from .instance import supervising
from .kubectls import KUBECTLS

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
    command = [sys.executable, "-m", "supervisor.cli", str(file), "--kubectl", NEWEST.path, *words]
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "HOME": str(folder)}
    with trio.fail_after(30):
        return await trio.run_process(
            command, env=environment, capture_stdout=True, capture_stderr=True, check=False, stdin=b""
        )


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
        done = await run(tmp_path, cluster, config, "--ready-timeout=1.5", "--", "touch", str(tmp_path / "ran"))
    assert done.returncode == 1
    assert b"api is waiting after 1.5 s: pod/pending has no ready pod: pod pending is ImagePullBackOff" in done.stderr
    assert not os.path.exists(tmp_path / "ran")


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
            with trio.fail_after(20):
                while not os.path.exists(tmp_path / "ready"):  # a shell sends no event
                    await trio.testing.wait_all_tasks_blocked(0.05)
            processes = instance.children()
            assert await instance.stop(signal.SIGTERM) == 5
            assert [p for p in processes if p.is_running()] == []


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
