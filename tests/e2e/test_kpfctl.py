"""kpfctl as people and scripts use it, on a running instance with real kubectl."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
import trio
import yaml

from kpf_supervise.control.client import Client, NoAnswer
from kpf_supervise.kubectl.process import lines
from kpf_supervise.sandbox import open_cluster, write_kubeconfig
from tests import preforked
from tests.conftest import both
from tests.kubectls import KUBECTLS, Kubectl
from tests.program import PATIENCE, get, supervising

NEWEST = KUBECTLS[-1]
CONFIG = """
    forwards:
      web: {target: service/web, ports: [":http", ":echo"]}
      search: {selector: "app=search", ports: ":9200", lazy: true}
    """


async def test_list_start_stop_and_all_the_rest(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, CONFIG) as instance:
            await instance.all_active("web/http", "web/echo")
            ctl = instance.ctl

            head, *rows = (await ctl("list")).stdout.splitlines()
            assert head.split() == ["ID", "STATE", "LOCAL", "TARGET", "POD", "AGE", "CONN", "ERROR"]
            states = {row.split()[0]: row.split()[1] for row in rows}
            assert states == {"web/http": "active", "web/echo": "active", "search": "idle"}
            assert f"localhost:{instance.port('web/http')}" in rows[0]
            wide = (await ctl("list", "-o", "wide")).stdout
            assert "NAMESPACE" in wide
            assert " sandbox " in wide
            listed = json.loads((await ctl("list", "-o", "json")).stdout)
            assert [each["active"] for each in listed] == [True, True, False]
            assert yaml.safe_load((await ctl("list", "-o", "yaml")).stdout) == listed

            started = await ctl("start", "svc/web", ":http", ":9090", "--name", "more", "--wait")
            assert (started.returncode, started.stdout) == (0, "more-http\nmore-9090\n"), started.stderr
            listed = json.loads((await ctl("list", "-o", "json")).stdout)
            ports = {each["id"]: each["localPort"] for each in listed}
            assert (await get(ports["more-http"])).startswith(b"web-")

            env = await ctl("env")
            shell = f"{env.stdout}\necho $KPF_MORE_HTTP_PORT $KPF_WEB_HTTP_HOST"
            done = await trio.run_process(["sh", "-c", shell], capture_stdout=True)
            assert done.stdout.decode().split() == [str(ports["more-http"]), "localhost"]

            assert (await ctl("stop", "more-http", "web/echo")).returncode == 0
            assert (await ctl("list", "-o", "name")).stdout.split() == ["web/http", "web/echo", "search", "more-9090"]
            assert (await ctl("wait")).returncode == 0  # what the user has stopped is not waited for
            waited = await ctl("wait", "web/echo", "--timeout", "200ms")
            assert (waited.returncode, waited.stderr) == (1, "web/echo is stopped: no answer yet\n")
            assert (await ctl("restart", "web/echo")).returncode == 0
            assert (await ctl("wait", "web/echo", "search")).returncode == 0

            log = (await ctl("logs", "web/echo")).stdout
            assert "Forwarding from 127.0.0.1:" in log
            assert [line.split()[2] for line in log.splitlines()].count("active") == 2
            told = [json.loads(line) for line in (await ctl("events", "-o", "json")).stdout.splitlines()]
            assert {"stopped", "idle", "active"} <= {each["event"] for each in told}

            assert (await ctl("reload")).returncode == 0
            (tmp_path / "config.yaml").write_text("forwards: {web: {target: service/web, prots: 80}}")
            wrong = await ctl("reload")
            assert (wrong.returncode, "config.yaml:1:39: forwards.web.prots: unknown key" in wrong.stderr) == (1, True)

            assert (await ctl("stop", "--all")).returncode == 0
            listed = json.loads((await ctl("list", "-o", "json")).stdout)
            assert {each["id"]: each["state"] for each in listed} == dict.fromkeys(states, "stopped")
            assert (await ctl("shutdown")).returncode == 0
            assert await instance.process.wait() == 0
            assert "no instance runs. Start one with: kpf-supervise CONFIG" in (await ctl("list")).stderr


CAN_NOT_BE_DONE: list[tuple[list[str], int, str]] = [
    (["stop"], 2, "Name the forwards, or use --all"),
    (["stop", "search", "nosuch"], 1, 'kpfctl: there is no forward "nosuch". There is: search, taken'),
    (["restart", "search", "nosuch"], 1, 'kpfctl: there is no forward "nosuch". There is: search, taken'),
    (["wait", "taken", "--timeout", "0"], 1, "taken is stopped: no answer yet"),
    (["stop", "serch"], 1, 'kpfctl: there is no forward "serch". Did you mean search?'),
    (["wait", "nosuch"], 1, 'kpfctl: there is no forward "nosuch". There is: search, taken'),
    (["start", "service/web", "80:80:80"], 2, "has more than LOCAL:REMOTE"),
    (["start", "nosuch/web", "80"], 2, '"nosuch" is not a kind of target'),
    (["start", "pod/a", ":80", "--name", "-x"], 1, 'id: "-x" cannot name a forward'),
    (["start", "pod/a", ":80", "-n", "No"], 1, 'namespace: "No" is not a name that Kubernetes accepts'),
    (["start", "pod/a", ":80", "--address", "1.2"], 1, 'address: "1.2" is not an IP address'),
    (["start", "pod/a", ":80", ":90", "--name", "search", "--address", "240.0.0.1"], 1, "no address 240.0.0.1"),
    (
        ["--socket", "/nosuch", "-f", "other.yaml", "list"],
        2,
        "--socket and -f both name an instance. Use one of them",
    ),
    (["--socket", "/nosuch", "list"], 1, "/nosuch: no instance serves it. Start one with"),
    (["-f", "other.yaml", "list"], 1, "no instance of other.yaml runs. Start one with: kpf-supervise other.yaml"),
]


async def test_what_can_not_be_done_says_why_and_changes_nothing(tmp_path: Path) -> None:
    config = """
        forwards:
          search: {selector: "app=search", ports: ":9200", lazy: true}
          taken: {target: pod/a, ports: "80", enabled: false}
        """
    async with supervising(tmp_path, NEWEST, None, config) as instance, instance.peer() as peer:
        before = {id: each["since"] for id, each in (await peer.list()).items()}
        for words, code, text in CAN_NOT_BE_DONE:
            done = await instance.ctl(*words)
            assert (done.returncode, text in done.stderr) == (code, True), (words, done.stderr)
            assert {id: each["since"] for id, each in (await peer.list()).items()} == before, words


async def test_a_wait_ends_with_the_first_failure_that_is_final(tmp_path: Path) -> None:
    config = """
        forwards:
          web: {target: service/web, ports: ":http"}
          gone: {target: service/nosuch, ports: ":80"}
        """
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance:
            await instance.all_active("web")
            waited = await instance.ctl("wait", "--timeout", "10m")
            assert waited.returncode == 1
            assert 'gone is failed: there is no service "nosuch" in namespace dev. ' in waited.stderr
            assert "kubectl" in waited.stderr  # the next step
            assert (await instance.ctl("wait", "web")).returncode == 0
            waited = await instance.ctl("wait", "--keep-waiting", "--timeout", "0.1")
            assert (waited.returncode, waited.stderr.count("gone is failed")) == (1, 1)
            assert "--keep-waiting" not in waited.stderr


CAN_NOT_WORK = [
    ("service/nosuch :80", 'there is no service "nosuch" in namespace dev. See: '),
    ("deploy/nosuch :80", 'there is no deployment "nosuch" in namespace dev. See: '),
    ("pod/nosuch :80", "nosuch"),
    ("service/web :nosuch", "service/web has no port nosuch. It has: 80 (http), 9090 (echo)"),
    ("service/web :http :81", "service/web has no port 81. It has: 80 (http), 9090 (echo)"),
    ("service/noselector :http", "service/noselector has no selector, so it leads to no pods"),
    ("pod/db-0 :nosuch", "db-0 has no port n"),
    ("service/web :http --context nosuch", "the kubeconfig has no context nosuch. It has: sandbox"),
    ("service/web :http -n nosuch", "there is no namespace nosuch"),
]


@both
async def test_start_of_what_can_not_work_says_so_and_starts_nothing(kubectl: Kubectl, tmp_path: Path) -> None:
    config = 'forwards: {it: {target: service/web, ports: ":http", lazy: true}}'
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, kubectl, cluster.kubeconfig, config) as instance, instance.peer() as peer:
            await instance.until("idle", "it")

            async def refused(words: str) -> str:
                done = await instance.ctl("start", *words.split())
                assert (done.returncode, done.stdout) == (1, ""), words
                assert {*await peer.list()} == {"it"}, words
                return done.stderr

            for words, said in CAN_NOT_WORK:
                assert said in await refused(words), words
            cluster.faults.forbid("create", "pods/portforward")
            cluster.faults.forbid("get", "pods/portforward")
            assert "you (sandbox) may not create pods/portforward in namespace dev" in await refused("svc/web :80")
            cluster.faults.clear()
            cluster.faults.forbid("get", "services")
            assert "you (sandbox) may not get services in namespace dev" in await refused("svc/web :80 --wait")
            cluster.faults.clear()

            kept = await instance.ctl("start", "service/nosuch", ":80", "--keep-waiting")
            assert (kept.returncode, kept.stdout) == (0, "nosuch\n")
            waits = await instance.ctl("start", "service/noendpoints", ":http")
            assert (waits.returncode, waits.stdout) == (0, "noendpoints\n")
            where, why = waits.stderr.splitlines()
            assert where.endswith(" → service/noendpoints, port http")
            assert why.startswith("noendpoints is waiting: service/noendpoints has no ready pod: it has no pods. See: ")


async def test_start_of_a_lazy_forward_that_can_not_work_says_so(tmp_path: Path) -> None:
    config = 'forwards: {it: {target: service/web, ports: ":http", lazy: true}}'
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance:
            await instance.until("idle", "it")
            for words, said in CAN_NOT_WORK:
                done = await instance.ctl("start", *words.split(), "--lazy")
                assert (done.returncode, done.stdout) == (1, ""), words
                assert said.removesuffix(" in namespace dev. See: ") in done.stderr, (words, done.stderr)
            assert (await instance.ctl("ls", "-o", "name")).stdout == "it\n"
            assert (await instance.ctl("start", "service/web", ":http", "--lazy")).stdout == "web\n"


async def test_ids_may_be_globs_names_and_local_ports(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, CONFIG) as instance:
            await instance.all_active("web/http", "web/echo")
            ctl = instance.ctl

            async def states() -> dict[str, str]:
                return {each["id"]: each["state"] for each in json.loads((await ctl("ls", "-o", "json")).stdout)}

            assert (await ctl("stop", "web")).returncode == 0
            assert await states() == {"web/http": "stopped", "web/echo": "stopped", "search": "idle"}
            assert (await ctl("restart", "*/echo")).returncode == 0
            assert (await ctl("wait", "web/e*", "search")).returncode == 0
            assert await states() == {"web/http": "stopped", "web/echo": "active", "search": "idle"}
            assert (await ctl("ls", "web/e*", "-o", "name")).stdout == "web/echo\n"
            (listed,) = json.loads((await ctl("ls", "web/echo", "-o", "json")).stdout)
            assert (await ctl("ls", str(listed["localPort"]), "--no-headers")).stdout.split()[0] == "web/echo"
            assert f"Local address: localhost:{listed['localPort']}" in " ".join(
                (await ctl("describe", "web/echo")).stdout.split()
            )
            assert "Forwarding from" in (await ctl("logs", "web")).stdout
            wrong = await ctl("stop", "web", "nosuch*")
            assert (wrong.returncode, 'there is no forward "nosuch*"' in wrong.stderr) == (1, True)
            assert (await states())["web/echo"] == "active"


async def test_start_by_selector_with_options_of_its_own(tmp_path: Path) -> None:
    config = 'forwards: {it: {target: service/web, ports: ":http", lazy: true}}'
    async with open_cluster(tmp_path) as cluster:
        own = write_kubeconfig(tmp_path / "own", mine=cluster.context({"token": "sandbox"}))
        async with supervising(tmp_path, NEWEST, None, config) as instance:
            await instance.until("idle", "it")
            words = ["start", "-l", "app=search,tier=backend", ":http", "--kubeconfig", str(own)]
            done = await instance.ctl(*words, "--hold", "1m30s", "--children", "2", "--name", "found")
            assert (done.returncode, done.stdout) == (0, "found\n"), done.stderr
            shown = " ".join((await instance.ctl("describe", "found")).stdout.split())
            for fact in (
                "State: active",
                "Target: app=search,tier=backend, port http",
                "Context: mine",
                "hold: 90s",
                "children: 2",
                f"kubeconfig: {own}",
            ):
                assert fact in shown


async def test_of_several_ports_all_are_started_or_none(tmp_path: Path) -> None:
    config = 'forwards: {it: {target: service/web, ports: ":http", lazy: true}}'
    async with supervising(tmp_path, NEWEST, None, config) as instance:
        await instance.until("idle", "it")
        own = instance.port("it")
        done = await instance.ctl("start", "service/web", ":80", f"{own}:81", "--lazy")
        assert (done.returncode, f"local port {own} is already in use by the forward it" in done.stderr) == (1, True)
        assert (await instance.ctl("list", "-o", "name")).stdout == "it\n"


FOLLOWING = ["list --watch", "ls it -w -o name", "events -f", "logs it -f", "logs * --follow"]


async def test_following_goes_on_until_ctrl_c_or_the_instances_end(tmp_path: Path) -> None:
    config = 'forwards: {it: {target: service/web, ports: ":http", lazy: true}}'
    async with supervising(tmp_path, NEWEST, None, config) as instance, instance.peer() as peer:
        await instance.until("idle", "it")
        for how in (signal.SIGINT, None):
            async with AsyncExitStack() as stack:
                stack.enter_context(trio.fail_after(PATIENCE))
                followers = []
                for words in FOLLOWING:
                    command = ["-m", "kpf_supervise.kpfctl", *words.split()]
                    process = await preforked.start(command, instance.environment, stdout=subprocess.PIPE)
                    assert process.stdout is not None
                    told = await stack.enter_async_context(aclosing(lines(process.stdout)))
                    followers.append((words, process, told))
                for _, _, told in followers:
                    while b"it" not in await anext(told):
                        pass
                await peer.call("restart", id="it")
                for words, process, told in followers:
                    while b"it" not in await anext(told):
                        pass
                    if how is not None:
                        process.send_signal(how)
                        assert await process.wait() == -how, words
                if how is None:
                    await peer.call("shutdown")
                    for words, process, _ in followers:
                        assert await process.wait() == 0, words


async def test_the_one_of_several_is_named(tmp_path: Path) -> None:
    config = 'forwards: {it: {target: service/web, ports: ":http", lazy: true}}'
    async with supervising(tmp_path, NEWEST, None, config) as instance:
        await instance.until("idle", "it")
        instance_socket = instance.socket
        other = tmp_path / "other.yaml"
        other.write_text(config.replace("it:", "that:"))
        command = ["-m", "kpf_supervise", str(other)]
        process = await preforked.start(command, instance.environment, stderr=subprocess.PIPE)
        assert process.stderr is not None
        async with process.stderr:
            async with aclosing(lines(process.stderr)) as told:
                assert b"that" in await anext(told)
            sockets = set(instance_socket.parent.glob("*.sock"))
            (socket,) = map(str, sockets - {instance_socket})
            nameless = instance_socket.with_name("a name of its own.sock")
            for moved in (False, True):  # as that of a COMMAND's instance, which its file alone does not lead to
                if moved:
                    instance_socket.rename(nameless)
                several = await instance.ctl("list")
                assert several.returncode == 1
                head, *ends = several.stderr.splitlines()
                assert head == "kpfctl: 2 instances run. Name one:"
                assert f"(pid {process.pid}, {other})" in several.stderr
                found = {}
                for end in ends:
                    line, _, which = end.strip().partition(" …  ")
                    program, *words = shlex.split(line)
                    assert program == "kpfctl"
                    found[which] = (words[0], (await instance.ctl(*words, "list", "-o", "name")).stdout)
                assert found == {
                    f"(pid {process.pid}, {other})": ("-f", "that\n"),
                    f"(pid {instance.process.pid}, {tmp_path / 'config.yaml'})": (
                        "--socket" if moved else "-f",
                        "it\n",
                    ),
                }
            nameless.rename(instance_socket)
            head, *rows = (await instance.ctl("instances")).stdout.splitlines()
            assert head.split() == ["PID", "ACTIVE", "CONFIG", "SOCKET"]
            assert {tuple(row.split()) for row in rows} == {
                (str(process.pid), "0/1", str(other), socket),
                (str(instance.process.pid), "0/1", str(tmp_path / "config.yaml"), str(instance_socket)),
            }
            assert (await instance.ctl("instances", "--no-headers")).stdout.splitlines() == rows
            listed = json.loads((await instance.ctl("instances", "-o", "json")).stdout)
            assert {each["pid"] for each in listed} == {process.pid, instance.process.pid}
            instance.environment["KPF_SOCKET"] = socket
            assert (await instance.ctl("list", "-o", "name")).stdout == "that\n"
            named = str(tmp_path / "config.yaml")  # what is said explicitly wins over the environment
            assert (await instance.ctl("-f", named, "list", "-o", "name")).stdout == "it\n"
            assert (await instance.ctl("--socket", str(instance_socket), "list", "-o", "name")).stdout == "it\n"
            process.send_signal(signal.SIGSTOP)  # it hangs
            with Client(Path(socket), timeout=0.2) as client, pytest.raises(NoAnswer, match="does not answer within"):
                client.call("portforward:list")
            rows = [" ".join(row.split()) for row in (await instance.ctl("instances")).stdout.splitlines()]
            assert f"– no answer – {socket}" in rows
            process.send_signal(signal.SIGCONT)
            process.terminate()
            assert await process.wait() == 0


async def test_text_that_stdout_can_not_take_is_no_error(tmp_path: Path) -> None:
    config = """
        context: "día→🏪"
        forwards:
          it: {target: service/web, ports: ":http", lazy: true}
          told: {target: service/web, ports: ":http"}
        """
    async with supervising(tmp_path, NEWEST, None, config) as instance:
        await instance.until("failed", "told")
        instance.environment |= {"PYTHONIOENCODING": "latin-1"}
        for words in ("list", "list -o wide", "list -o json", "list -o yaml", "events", "events -o json", "logs it"):
            done = await instance.ctl_in("latin-1", *words.split())
            assert (done.returncode, done.stderr) == (0, ""), words
            assert "it" in done.stdout
            if words == "list -o wide":
                assert " día?? " in done.stdout
            elif words == "list -o json":
                assert json.loads(done.stdout)[0]["context"] == "día→🏪"
            elif words == "events -o json":
                messages = [json.loads(line)["message"] for line in done.stdout.splitlines()]
                assert messages[-1].startswith("the kubeconfig has no context día→🏪. ")
            elif words == "list -o yaml":
                assert yaml.safe_load(done.stdout)[0]["context"] == "día→🏪"
        file = tmp_path / "día→🏪.yaml"
        file.write_text(config)
        command = [sys.executable, "-m", "kpf_supervise", "--check", str(file)]
        checked = await trio.run_process(command, env=instance.environment, capture_stdout=True, stdin=b"")
        assert b".yaml: valid" in checked.stdout


def test_it_starts_without_trio_and_what_is_as_heavy() -> None:
    heavy = "{'trio', 'pydantic', 'yaml', 'textual', 'asyncio', 'psutil', 'msgspec'}"
    script = f"import sys, kpf_supervise.kpfctl.program; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "\n"
