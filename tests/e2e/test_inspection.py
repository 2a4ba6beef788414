"""kpf-supervise --init and --check --live, with real kubectl: what a cluster has, and whether a file would work."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio

from kpf_supervise.sandbox import CredentialPlugin, open_cluster, write_kubeconfig
from tests.conftest import NEWEST, OLDEST
from tests.kubectls import Kubectl
from tests.program import free_port, supervising, surroundings, until

PATIENCE = 60.0  # seconds: one cluster does not answer for 15


async def run(
    folder: Path, kubeconfig: Path, *words: str, kubectl: Kubectl = NEWEST
) -> subprocess.CompletedProcess[str]:
    """Run kpf-supervise until it ends."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(
            [sys.executable, "-m", "kpf_supervise", "--kubectl", kubectl.path, *words],
            cwd=folder,
            env=surroundings(folder, kubeconfig),
            stdin=b"",
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    return subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(), done.stderr.decode())


async def live(folder: Path, kubeconfig: Path, config: str, **options: Kubectl) -> tuple[int, dict[str, Any], str]:
    """The exit code of a check of this file, its JSON and its stderr."""
    (folder / "config.yaml").write_text(textwrap.dedent(config))
    done = await run(folder, kubeconfig, "--check", "--live", "config.yaml", "-o", "json", **options)
    return done.returncode, json.loads(done.stdout), done.stderr


def by_id(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["id"]: each for each in report["forwards"]}


def causes(checked: dict[str, Any]) -> list[str]:
    return [problem["cause"] for problem in checked["problems"]]


@asynccontextmanager
async def open_silence() -> AsyncIterator[str]:
    """A server that accepts connections and never says anything; yields its URL."""

    async def listen_only(stream: trio.SocketStream) -> None:
        async with stream:
            async for _ in stream:
                pass

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, listen_only, [listener])
        yield f"https://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def test_the_file_of_init_works_as_it_is(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        made = await run(tmp_path, cluster.kubeconfig, "--init", "-n", "dev")
        assert (made.returncode, made.stderr) == (0, "")
        assert "# service/extname: left out: of type ExternalName: connect to example.invalid itself" in made.stdout
        (tmp_path / "kpf.yaml").write_text(re.sub(r"\d+:", ":", made.stdout))  # other tests may take them meanwhile
        checked = await run(tmp_path, cluster.kubeconfig, "--check", "kpf.yaml")
        assert (checked.returncode, checked.stdout) == (0, "kpf.yaml: valid; it declares 6 forwards\n")
        curl = "curl -s $KPF_WEB_HTTP_ADDR; curl -s $KPF_DB_HTTP_ADDR; curl -s $KPF_SEARCH_ADDR"
        asked = await run(tmp_path, cluster.kubeconfig, "kpf.yaml", "--", "sh", "-c", curl)
        assert asked.returncode == 0
        assert [answer.partition("-")[0] for answer in asked.stdout.splitlines()] == ["web", "db", "search"]

        shown = await run(tmp_path, cluster.kubeconfig, "--check", "--live", "kpf.yaml")
        assert (shown.returncode, shown.stderr) == (1, "")
        rows = {line.split()[0]: line.split()[-1] for line in shown.stdout.splitlines() if line}
        names = ("db/db", "db/http", "search", "web/http", "web/echo", "noendpoints")
        assert [rows[name] for name in names] == [*["yes"] * 5, "no"]
        assert shown.stdout.splitlines()[-1] == "1 of 6 would not work"


async def test_init_says_why_there_is_nothing(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        for words, said in {
            ("-n", "data"): "namespace data has no service. ",
            ("-n", "nosuch"): "there is no namespace nosuch. See: kubectl --context=sandbox get namespaces",
            ("--context", "nosuch"): "the kubeconfig has no context nosuch. It has: sandbox",
        }.items():
            done = await run(tmp_path, cluster.kubeconfig, "--init", *words)
            assert (done.returncode, done.stdout) == (1, ""), words
            assert done.stderr.startswith(f"kpf-supervise: {said}")
        cluster.faults.forbid("list", "services")
        done = await run(tmp_path, cluster.kubeconfig, "--init")
        assert (done.returncode, done.stdout) == (1, "")
        assert "you (sandbox) may not list services in namespace dev. Ask for a role with the rule" in done.stderr


async def test_init_against_the_sandbox(tmp_path: Path) -> None:
    """Its kubeconfig is gone afterwards, so the file names no context of it."""
    made = await run(tmp_path, tmp_path / "none", "--sandbox", "--init")
    assert (made.returncode, made.stderr) == (0, "")
    assert "context:" not in made.stdout
    (tmp_path / "kpf.yaml").write_text(re.sub(r"\d+:", ":", made.stdout))
    done = await run(tmp_path, tmp_path / "none", "--sandbox", "--check", "--live", "kpf.yaml", "-o", "json")
    assert {id: each["ok"] for id, each in by_id(json.loads(done.stdout)).items()} == {
        "db/db": True,
        "db/http": True,
        "noendpoints": False,
        "search": True,
        "web/http": True,
        "web/echo": True,
    }


ALL = """
forwards:
  web: {{target: service/web, ports: "{web}:http"}}
  db: {{target: statefulset/db, ports: ":db"}}
  pod: {{target: pod/db-0, ports: ":8080"}}
  labels: {{selector: app=search, ports: ":http"}}
  nosuch: {{target: service/nosuch, ports: ":http"}}
  external: {{target: service/extname, ports: ":http"}}
  port: {{target: service/web, ports: ":grpc"}}
  named: {{target: deployment/web, ports: ":grpc"}}
  none: {{target: service/noendpoints, ports: ":http"}}
  pending: {{target: pod/pending, ports: ":80"}}
  space: {{target: service/web, ports: ":http", namespace: nosuch}}
  context: {{target: service/web, ports: ":http", context: nosuch}}
  taken: {{target: service/web, ports: "{taken}:http"}}
  off: {{target: service/nosuch, ports: "{taken2}:http", enabled: false}}
  members: {{target: statefulset/db, ports: "{each}:db", each: true}}
services:
  - {{local: free}}
  - {{namespace: nosuch}}
proxy: {proxy}
"""


@pytest.mark.parametrize("kubectl", dict.fromkeys([OLDEST, NEWEST]), ids=lambda kubectl: kubectl.label)
async def test_what_the_cluster_says_of_each_forward(kubectl: Kubectl, tmp_path: Path) -> None:
    web, each, proxy = free_port(), free_port(), free_port()
    async with open_cluster(tmp_path) as cluster, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, trio.aclose_forcefully, [listener])
        taken = listener.socket.getsockname()[1]
        config = ALL.format(web=web, taken=taken, taken2=free_port(), each=each, proxy=proxy)
        code, report, said = await live(tmp_path, cluster.kubeconfig, config, kubectl=kubectl)
        nursery.cancel_scope.cancel()
    found = by_id(report)
    assert (code, report["ok"], said) == (1, False, "")
    assert {id: causes(each) for id, each in found.items() if each["problems"]} == {
        "nosuch": ["no-such-object"],
        "external": ["no-selector"],
        "port": ["no-such-port"],
        "named": ["no-such-port"],
        "none": ["no-ready-pod"],
        "pending": ["no-ready-pod"],
        "space": ["no-such-namespace"],
        "context": ["no-such-context"],
        "taken": ["local-port"],
        "services[1]": ["no-such-namespace"],
    }
    assert {
        id: (each["podPort"], each["readyPods"], each["pods"]) for id, each in found.items() if each["readyPods"]
    } == {
        "web": (8080, 2, 2),
        "db": (5432, 1, 1),
        "pod": (8080, 1, 1),
        "labels": (9200, 1, 1),
        "port": (None, 2, 2),
        "named": (None, 2, 2),
        "taken": (8080, 2, 2),
        "members": (None, 1, 1),
    }
    assert (found["off"]["enabled"], found["off"]["ok"], found["off"]["rights"]) == (False, True, {})
    assert (found["services[0]"]["services"], found["services[0]"]["namespace"]) == (4, "dev")
    assert "It has: 80 (http), 9090 (echo)" in str(found["port"]["problems"])
    assert f"already in use by pid {psutil.Process().pid} " in str(found["taken"]["problems"])
    assert {each["localPortFree"] for id, each in found.items() if id in ("web", "members", "proxy")} == {True}
    assert all(all(each["rights"].values()) for each in found.values())
    versions = [hint["message"] for each in report["clusters"] for hint in each["hints"]]
    assert bool(versions) == (abs(kubectl.version[1] - 33) > 1)
    assert [each["version"] for each in report["clusters"]] == ["1.33.0", None]


async def test_what_a_limited_user_may_not_do(tmp_path: Path) -> None:
    config = """
        forwards: {web: {target: service/web, ports: ":http"}, pod: {target: pod/db-0, ports: ":db"}}
        services: {local: free}
        """
    async with open_cluster(tmp_path) as cluster:
        for verb in ("create", "get"):
            cluster.faults.forbid(verb, "pods/portforward")
        for resource in ("pods", "services"):
            cluster.faults.forbid("watch", resource)
        code, report, _ = await live(tmp_path, cluster.kubeconfig, config)
        assert code == 1
        for checked in report["forwards"]:
            (problem,) = checked["problems"]
            assert problem["message"] == "you may not create pods/portforward in namespace dev"
            assert problem["nextStep"].endswith('apiGroups [""], resources [pods/portforward], verbs [create]')
            lacking = [right for right, has in checked["rights"].items() if not has]
            services = ["watch services"] if checked["kind"] == "services" else []
            assert lacking == ["create pods/portforward", "get pods/portforward", "watch pods", *services]

        cluster.faults.allow("create", "pods/portforward")
        code, report, _ = await live(tmp_path, cluster.kubeconfig, config)
        assert (code, report["ok"]) == (0, True), "what is left is no more than a hint"
        assert ["watch pods" in str(each["hints"]) for each in report["forwards"]] == [True] * 3

        for verb in ("get", "list"):
            cluster.faults.forbid(verb, "services")
        cluster.faults.forbid("list", "pods")
        cluster.faults.answer(403, path="selfsubjectaccessreviews")  # not even that
        _, report, _ = await live(tmp_path, cluster.kubeconfig, config)
        assert {id: causes(each) for id, each in by_id(report).items()} == {
            "web": ["forbidden"],
            "pod": [],
            "services[0]": ["forbidden"],
        }
        assert all("what you may do is not known" in str(each["hints"]) for each in report["forwards"])


async def test_one_sign_in_for_all_that_is_asked(tmp_path: Path) -> None:
    """And one that fails hides nothing of another cluster."""
    config = """
        forwards:
          one: {target: service/web, ports: ":http", context: login}
          two: {target: pod/db-0, ports: ":db", context: login}
          other: {target: service/web, ports: ":http", context: plain}
        """
    plugin = CredentialPlugin(tmp_path / "plugin")
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.add("good")
        contexts = {"login": cluster.context(plugin.user), "plain": cluster.context({"token": "good"})}
        kubeconfig = write_kubeconfig(tmp_path / "secure", **contexts)
        code, report, said = await live(tmp_path, kubeconfig, config)
        assert (code, said) == (0, "")
        assert len(plugin.runs) == 1
        logins = [(each["context"], each["user"], bool(each["plugin"])) for each in report["clusters"]]
        assert logins == [("login", "login", True), ("plain", "plain", False)]

        plugin.behave(takes=4)
        made = await run(tmp_path, kubeconfig, "--init", "--context", "login")
        assert (made.returncode, len(plugin.runs)) == (0, 2)
        assert "login: signing in with " in made.stderr, "somebody waits for it"

        plugin.behave(takes=0, fails="please run: cloud login")
        code, report, _ = await live(tmp_path, kubeconfig, config)
        assert code == 1
        assert len(plugin.runs) in (3, 4), "one that has failed at once, and asked nobody, may be tried once more"
        assert {id: causes(each) for id, each in by_id(report).items()} == {
            "one": ["credential-plugin"],
            "two": ["credential-plugin"],
            "other": [],
        }
        problem = report["clusters"][0]["problem"]
        assert "please run: cloud login" in problem["message"]
        assert problem["nextStep"] == "Sign in with: kubectl --context=login get pods", "kpfctl has no instance for it"

        plugin.behave(fails="")
        before = len(plugin.runs)
        code, report, _ = await live(tmp_path, kubeconfig, f"{config.rstrip(' ')}        credentials: each")
        assert (code, len(plugin.runs) - before) == (0, 1), "no second one for the question what one may do"
        assert "each kubectl signs in by itself there" in str(by_id(report)["one"]["hints"])
        assert by_id(report)["other"]["rights"]["create pods/portforward"]


def words_of_children(pid: int) -> set[str]:
    found = set[str]()
    for child in psutil.Process(pid).children():
        with suppress(psutil.Error):  # it has ended meanwhile
            found |= set(child.cmdline())
    return found


@pytest.mark.long
async def test_a_cluster_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    config = """
        forwards:
          one: {target: service/web, ports: ":http", context: silent}
          two: {target: service/db, ports: ":http", context: silent}
          good: {target: service/web, ports: ":http", context: good}
        """
    async with open_cluster(tmp_path) as cluster, open_silence() as url:
        cluster.tokens.add("good")
        good = cluster.context({"token": "good"})
        silent = cluster.context({"token": "good"}, server=url)
        kubeconfig = write_kubeconfig(tmp_path / "secure", good=good, silent=silent)

        async def interrupted() -> None:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "kpf_supervise", "--kubectl", NEWEST.path, "--init", "--context", "silent"],
                env=surroundings(tmp_path, kubeconfig),
            )
            await until(lambda: "proxy" in words_of_children(process.pid))
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130

        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupted)
            code, report, _ = await live(tmp_path, kubeconfig, config)
        assert code == 1
        assert {id: causes(each) for id, each in by_id(report).items()} == {
            "one": ["api-unreachable"],
            "two": ["api-unreachable"],
            "good": [],
        }


async def test_the_local_ports_of_an_instance_that_runs_with_the_file(tmp_path: Path) -> None:
    port, proxy = free_port(), free_port()
    config = f"forwards: {{web: {{target: service/web, ports: '{port}:http', lazy: true}}}}\nproxy: {proxy}"
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance:
            await instance.until("idle", "web")
            done = await trio.run_process(
                [sys.executable, "-m", "kpf_supervise", "--check", "--live", str(tmp_path / "config.yaml"),
                 "--kubectl", NEWEST.path, "-o", "json"],
                env=instance.environment, stdin=b"", capture_stdout=True,
            )  # fmt: skip
            found = by_id(json.loads(done.stdout))
            assert [(each["running"], each["ok"]) for each in found.values()] == [(True, True)] * 2
            assert instance.kinds("web") == ["idle"], "nothing was connected to it"
