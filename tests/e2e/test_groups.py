"""A file that a team shares: variables, a list with names, and groups, with real kubectl."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from kpf_supervise.sandbox import open_cluster
from tests.conftest import NEWEST
from tests.e2e.test_command import run
from tests.program import free_port, get, supervising

CONFIG = """\
x-backend: &backend
  groups: [backend]
  hold: ${HOLD:-5s}
forwards:
  - name: web
    target: service/web
    ports: "${WEB_PORT}:http"
    groups: [frontend, all]
  - <<: *backend
    name: db
    target: statefulset/db
    ports: ":http"
  - <<: *backend
    name: search
    target: service/${SEARCH:-search}
    ports: ":9200"
    enabled: false
  - name: pods
    target: statefulset/nosuch
    ports: 80
    each: true
"""


async def test_only_the_forwards_of_a_group_start_and_the_others_can_be_started(tmp_path: Path) -> None:
    port = free_port()
    async with open_cluster(tmp_path) as cluster:
        words = ("--group", "frontend")
        running = supervising(tmp_path, NEWEST, cluster.kubeconfig, CONFIG, *words, WEB_PORT=str(port))
        async with running as instance, instance.peer() as peer:
            await instance.all_active("web")
            assert (await get(port)).startswith(b"web-")
            states = {id: each["state"] for id, each in (await peer.list()).items()}
            assert states == {"web": "active", "db": "stopped", "search": "stopped"}

            ctl = instance.ctl
            listed = json.loads((await ctl("list", "--group", "backend", "-o", "json")).stdout)
            assert {each["id"]: each["groups"] for each in listed} == {"db": ["backend"], "search": ["backend"]}
            begun = await ctl("start", "--group", "backend", "--wait")
            assert (begun.returncode, begun.stdout) == (0, "db\nsearch\n"), begun.stderr
            assert (await ctl("start", "--group", "backend")).stdout == ""  # they run
            assert (await ctl("stop", "--group", "frontend", "--group", "backend")).returncode == 0
            assert {each["state"] for each in (await peer.list()).values()} == {"stopped"}
            assert (await ctl("start", "web", "--wait")).stdout == "web\n"
            wrong = await ctl("restart", "--group", "bakcend")
            assert wrong.returncode == 1
            assert wrong.stderr == 'kpfctl: no forward is in the group "bakcend". There is: all, backend, frontend\n'

            file = tmp_path / "config.yaml"
            edited = CONFIG.replace("service/web\n", "deployment/web\n").replace("set/db\n", "set/db\n    lazy: true\n")
            file.write_text(edited)
            assert (await ctl("reload")).returncode == 0  # with the variables and the groups of the instance
            assert (await ctl("wait")).returncode == 0
            states = {id: each["state"] for id, each in (await peer.list()).items()}
            assert states == {"web": "active", "db": "stopped", "search": "stopped"}
            file.write_text(CONFIG.replace("frontend", "front").replace("${WEB_PORT}", "${WEB_PROT}"))
            wrong = await ctl("reload")
            assert wrong.returncode == 1
            assert "config.yaml:7:12: forwards.web.ports: the variable WEB_PROT is not set. Set it" in wrong.stderr
            file.write_text(CONFIG.replace("frontend", "front"))
            assert (await ctl("reload")).returncode == 0
            await instance.until("notice", message="no forward of config.yaml is in the group frontend")


async def test_a_command_waits_for_the_chosen_ones_alone(tmp_path: Path) -> None:
    script = "import os; print(sorted(name for name in os.environ if name.startswith('KPF_') and '_ADDR' in name))"
    config = CONFIG.replace("${WEB_PORT}", "").replace("set/db", "set/nosuch")
    async with open_cluster(tmp_path) as cluster:
        done = await run(tmp_path, cluster, config, "--group", "all", "--", sys.executable, "-c", script)
    assert (done.returncode, done.stdout) == (0, b"['KPF_WEB_ADDR']\n"), done.stderr
