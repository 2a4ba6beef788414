"""kpf-supervise without a file that is named: the words of kubectl port-forward, a file that is found, a plugin."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import psutil
import pytest
import trio

from kpf_supervise.kubectl.process import lines
from kpf_supervise.sandbox import CredentialPlugin, open_cluster, write_kubeconfig
from tests import preforked
from tests.kubectls import KUBECTLS
from tests.program import PATIENCE, Instance, get, supervising, surroundings

NEWEST = KUBECTLS[-1]
BIN = Path(sys.executable).parent
COMPLETES_PLUGINS = pytest.mark.skipif(NEWEST.version < (1, 26, 0), reason="older ones ask no plugin")


@asynccontextmanager
async def beside(instance: Instance, *words: str) -> AsyncIterator[trio.Process]:
    """Another kpf-supervise of the same user, once it has told something."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "kpf_supervise", *words, "--kubectl", NEWEST.path],
        env=instance.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    async with process.stderr, aclosing(lines(process.stderr)) as told:
        assert b" idle " in await anext(told)
        yield process
        process.terminate()
        with trio.fail_after(PATIENCE):
            assert await process.wait() == 0


async def completed(environment: Mapping[str, str], line: str) -> list[str]:
    """The lines that kpfctl gives to the shell for this command line."""
    more = {"COMP_LINE": line, "_KPFCTL_COMPLETE": "bash_complete"}
    command = [sys.executable, "-m", "kpf_supervise.kpfctl"]
    done = await trio.run_process(command, env={**environment, **more}, capture_stdout=True, stdin=b"")
    return done.stdout.decode().splitlines()


async def test_two_command_lines_run_beside_each_other_and_kpfctl_tells_them_apart(tmp_path: Path) -> None:
    words = ["service/web", ":http", ":9090", "-n", "dev"]
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, None, *words) as instance:
            await instance.all_active("web/http", "web/9090")
            http, echo = map(instance.port, ("web/http", "web/9090"))
            assert (await get(http)).startswith(b"web-")
            assert (await instance.ctl("list", "-o", "name")).stdout == "web/http\nweb/9090\n", "the only one is found"
            assert "by the command line" in (await instance.ctl("describe", "web/http")).stdout
            async with beside(instance, "-l", "app=search", ":http", "--lazy", "--address", "127.0.0.1") as other:
                several = await instance.ctl("list")
                assert (several.returncode, several.stderr.splitlines()[0]) == (1, "kpfctl: 2 instances run. Name one:")
                named, sockets = {}, {}
                for line in several.stderr.splitlines()[1:]:
                    call, _, which = line.strip().partition(" …  ")
                    program, option, path = shlex.split(call)
                    assert (program, option) == ("kpfctl", "--socket")
                    named[which] = (await instance.ctl(option, path, "list", "-o", "name")).stdout
                    sockets[path] = re.sub(r"\(pid \d+, (.*)\)", r"\1", which)
                (port,) = re.findall(r"app=search (\d+):http", several.stderr)
                assert named == {
                    f"(pid {instance.process.pid}, service/web {http}:http {echo}:9090)": "web/http\nweb/9090\n",
                    f"(pid {other.pid}, -l app=search {port}:http)": "app-search\n",
                }
                assert (await get(int(port))).startswith(b"search-")
                offered = await completed(instance.environment, "kpfctl --socket ")
                assert set(offered) == {f"plain\t{path}\t{about}" for path, about in sockets.items()}
                rows = (await instance.ctl("instances", "--no-headers")).stdout.splitlines()
                assert {re.split(r"  +", row)[2] for row in rows} == set(sockets.values())


async def test_a_file_that_is_found_is_named_and_followed(tmp_path: Path) -> None:
    file = tmp_path / "kpf.yaml"
    file.write_text('forwards: {web: {target: service/web, ports: ":http", lazy: true}}')
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, None) as instance:
            notice = await instance.until("notice")
            assert notice["message"] == "the forwards are those of kpf.yaml: no file was named"
            await instance.until("idle", "web")
            assert (await instance.ctl("-f", str(file), "list", "-o", "name")).stdout == "web\n"
            file.write_text(file.read_text().replace("web:", "other:"))
            await instance.until("idle", "other")


async def test_detached_it_names_its_socket_and_persist_finds_what_the_same_words_had(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, None, "pod/db-0", ":http", "--lazy") as instance:
            await instance.until("idle", "db-0")
            words = ["--detach", "--persist", "service/web", ":http", "--lazy", "--kubectl", NEWEST.path]
            for started in ([], ["mine"]):
                done = await trio.run_process(
                    [sys.executable, "-m", "kpf_supervise", *words],
                    env=instance.environment,
                    capture_stdout=True,
                    stdin=b"",
                )
                told, _, end = done.stdout.decode().partition("; to end it: ")
                (pid,), (log,) = re.findall(r"pid (\d+)", told), re.findall(r"its log: (.*)", told)
                process = psutil.Process(int(pid))
                try:
                    assert re.fullmatch(r"web-[0-9a-f]{8}\.log", Path(log).name)
                    program, option, path, shutdown = shlex.split(end)
                    assert (program, option, shutdown) == ("kpfctl", "--socket", "shutdown")
                    listed = (await instance.ctl(option, path, "list", "-o", "name")).stdout.split()
                    assert listed == ["web", *started]
                    if not started:
                        await instance.ctl(option, path, "start", "pod/db-0", ":http", "--lazy", "--name", "mine")
                    assert (await instance.ctl(option, path, "shutdown")).returncode == 0
                    await trio.to_thread.run_sync(process.wait, PATIENCE)
                finally:
                    if process.is_running():
                        process.kill()
            assert (await instance.ctl("list", "-o", "name")).stdout == "db-0\n", "the other one runs on"


def plugged(folder: Path, kubeconfig: Path) -> dict[str, str]:
    """The environment of a user whose kubectl finds our plugin."""
    tools = folder / "bin"
    tools.mkdir()
    (tools / "kubectl").symlink_to(NEWEST.path)
    return surroundings(folder, kubeconfig, PATH=f"{tools}:{BIN}:/usr/bin:/bin")


async def kubectl(environment: Mapping[str, str], *words: str) -> str:
    """What it prints, as somebody who has typed this."""
    with trio.fail_after(PATIENCE):
        command = ["kubectl", *words]
        done = await trio.run_process(
            command, env=environment, capture_stdout=True, capture_stderr=True, stdin=b"", check=False
        )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


async def test_as_a_plugin_of_kubectl_it_runs_a_command(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        environment = plugged(tmp_path, cluster.kubeconfig)
        answer = "import os, urllib.request as r; print(r.urlopen('http://' + os.environ['KPF_WEB_HTTP_ADDR']).read())"
        words = ["service/web", ":http", ":echo", "-n", "dev", "--context", "sandbox"]
        printed = await kubectl(environment, "kpf", *words, "--", sys.executable, "-c", answer)
        assert printed.startswith("b'web-")
        assert "Usage: kubectl kpf [OPTIONS] [CONFIG | TARGET [LOCAL:]REMOTE...]" in " ".join(
            (await kubectl(environment, "kpf", "--help")).split()
        )


async def offered(environment: Mapping[str, str], *words: str) -> list[str]:
    """What kubectl completes, and the directive."""
    return (await kubectl(environment, "__complete", "kpf", *words)).splitlines()


@COMPLETES_PLUGINS
async def test_kubectl_completes_the_plugins_words_and_never_signs_in(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        plugin = CredentialPlugin(tmp_path / "plugin")
        token, by_plugin = cluster.context({"token": "sandbox"}), cluster.context(plugin.user)
        write_kubeconfig(cluster.kubeconfig, sandbox=token, plugged=by_plugin)
        environment = plugged(tmp_path, cluster.kubeconfig)
        assert await offered(environment, "service/w") == ["service/web\thttp, echo", ":4"]
        assert await offered(environment, "service/web", "8080:http", ":e") == [":echo\tport 9090 of service/web", ":4"]
        assert await offered(environment, "-n", "kube") == ["kube-system", ":4"]
        assert await offered(environment, "--context", "") == ["plugged", "sandbox\tcurrent", ":4"]
        assert await offered(environment, "service/web", "80", "--", "ma") == [":0"]
        assert await offered(environment, "--context", "plugged", "service/w") == [":0"]
        assert plugin.runs == []
        config = 'forwards: {it: {target: service/web, ports: ":http", context: plugged}}'
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance:
            await instance.until("active", "it")
            environment["XDG_RUNTIME_DIR"] = instance.environment["XDG_RUNTIME_DIR"]
            known = await offered(environment, "--context", "plugged", "service/w")
            assert known == ["service/web\thttp, echo", ":4"]
            assert len(plugin.runs) == 1


@COMPLETES_PLUGINS
async def test_a_cluster_that_does_not_answer_holds_up_nobody(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = {"server": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", silent=({"token": "t"}, server))
        begun = time.monotonic()
        assert await offered(plugged(tmp_path, kubeconfig), "service/") == [":0"]
        assert time.monotonic() - begun < 15, "kubectl itself would wait without end"


async def test_each_way_to_start_signs_in_once(tmp_path: Path) -> None:
    plugin = CredentialPlugin(tmp_path / "plugin")
    program = ["-m", "kpf_supervise", "--kubectl", NEWEST.path]
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.ask()
        kubeconfig = write_kubeconfig(tmp_path / "secure", dev=cluster.context(plugin.user))
        for arguments, printed in (
            (["service/web", ":http", "-n", "dev", "--", "sh", "-c", 'curl -sS "$KPF_WEB_ADDR"'], "web-"),
            (["--init", "-n", "dev"], "# The services of namespace dev of context dev"),
            (["--check", "--live", "service/web", ":http", "--context", "dev"], "kubectl "),
        ):
            before = len(plugin.runs)
            with trio.fail_after(PATIENCE):
                done = await preforked.run(*program, *arguments, env=surroundings(tmp_path, kubeconfig))
            assert done.stdout.decode().startswith(printed), done.stderr
            assert len(plugin.runs) == before + 1, arguments
