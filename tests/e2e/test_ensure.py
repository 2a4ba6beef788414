"""kpfctl ensure as scripts use it: nothing runs before it, and nothing after it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import trio

from kpf_supervise.sandbox import Cluster, CredentialPlugin, open_cluster, write_kubeconfig
from tests import preforked
from tests.kubectls import KUBECTLS
from tests.program import PATIENCE, get, supervising, surroundings, until

NEWEST = KUBECTLS[-1]


@dataclass
class Scripts:
    """Programs of one user, on a machine of their own."""

    environment: dict[str, str]

    @property
    def runtime(self) -> Path:
        return Path(self.environment["XDG_RUNTIME_DIR"], "kpf-supervise")

    async def kpfctl(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        with trio.fail_after(2 * PATIENCE):
            done = await preforked.run("-m", "kpf_supervise.kpfctl", *words, env=self.environment | variables)
        return subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(), done.stderr.decode())

    async def ensure(self, *words: str, **variables: str) -> int:
        """The local port of what is printed: an address alone on a line."""
        done = await self.kpfctl("ensure", *words, **variables)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        host, _, port = done.stdout.removesuffix("\n").rpartition(":")
        assert host == "localhost"
        return int(port)

    async def at_once(self, *calls: tuple[str, ...]) -> list[int]:
        ports = [0] * len(calls)

        async def ask(number: int) -> None:
            ports[number] = await self.ensure(*calls[number])

        async with trio.open_nursery() as nursery:
            for number in range(len(calls)):
                nursery.start_soon(ask, number)
        return ports

    @property
    def instances(self) -> list[psutil.Process]:
        """Those in the background."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                words = process.cmdline()
                if "kpf_supervise.cli.background" in words and str(self.runtime) in words[-1]:
                    found.append(process)
        return found

    async def ended(self, instances: list[psutil.Process], *ports: int) -> None:
        """Wait until nothing is left of them."""
        children = [child for each in instances for child in with_children(each)]
        await until(lambda: not any(map(alive, children)))
        await until(lambda: list(self.runtime.glob("*")) == [])
        for port in ports:
            assert not accepts(port)


def with_children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def alive(process: psutil.Process) -> bool:
    """One whose parent has ended may stay a zombie, where nobody collects it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ports_of(process: psutil.Process) -> set[int]:
    """On which it listens."""
    return {each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN}


def accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@asynccontextmanager
async def scripts(folder: Path, kubeconfig: Path, **variables: str) -> AsyncIterator[Scripts]:
    with tempfile.TemporaryDirectory(prefix="kpf") as runtime:  # a socket's path must be short
        environment = surroundings(folder, kubeconfig, KUBECTL=NEWEST.path, XDG_RUNTIME_DIR=runtime, **variables)
        found = Scripts(environment)
        try:
            yield found
        finally:
            for process in found.instances:
                process.kill()


def two_contexts(cluster: Cluster, file: Path) -> Path:
    """The same cluster by two names."""
    return write_kubeconfig(file, dev=cluster.context({"token": "a"}), prod=cluster.context({"token": "a"}))


TARGETS = [
    ("service/web", "80"),
    ("svc/web", ":9090"),
    ("statefulset/db", "http"),
    ("-l", "app=search", "9200"),
    ("deployment/search", "http", "-n", "dev"),
]


async def test_fifty_at_once_share_five_forwards_of_one_instance(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster, scripts(tmp_path, cluster.kubeconfig) as here:
        ports = await here.at_once(*TARGETS * 10)
        assert len(set(ports)) == 5
        assert ports == ports[:5] * 10
        (instance,) = here.instances
        assert {path.suffix for path in here.runtime.glob("ensure.*")} == {".sock"}
        assert instance.cwd() == "/"  # it keeps nobody's folder in use
        listed = json.loads((await here.kpfctl("list", "-o", "json")).stdout)
        assert sorted(each["localPort"] for each in listed) == sorted(ports[:5])
        assert all(each["active"] and each["leaseEnds"] for each in listed)
        pods = [(await get(port)).partition(b"-")[0] for port in (ports[0], *ports[2:5])]  # 9090 is no HTTP
        assert pods == [b"web", b"db", b"search", b"search"]
        assert (await here.kpfctl("stop", "--all")).returncode == 0
        await here.ended([instance], *ports[:5])


async def test_it_ends_with_the_last_lease_and_an_open_connection_is_not_cut(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster, scripts(tmp_path, cluster.kubeconfig) as here:
        web, db = await here.at_once(("svc/web", "80", "--ttl", "1s"), ("sts/db", ":http", "--ttl", "1s"))
        instances = here.instances
        async with await trio.open_tcp_stream("127.0.0.1", web) as stream:
            await until(lambda: db not in ports_of(instances[0]))  # its lease is over
            assert web in ports_of(instances[0])
            described = (await here.kpfctl("describe", "web")).stdout
            assert "Lease:         ended; kept while it is in use" in described
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\n\r\n")
            assert b"web-" in b"".join([bytes(chunk) async for chunk in stream])
        await here.ended(instances, web, db)


async def test_what_can_not_work_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster, scripts(tmp_path, cluster.kubeconfig) as here:
        wrong = [
            (("service/nosuch", "80"), 'there is no service "nosuch" in namespace dev'),
            (("service/web", "80", "--context", "nosuch"), "the kubeconfig has no context nosuch. It has: sandbox"),
        ]
        for words, told in wrong:
            done = await here.kpfctl("ensure", *words)
            assert (done.returncode, done.stdout) == (1, ""), done.stderr
            assert told in done.stderr
        cluster.scale("deployment/search", 0)
        done = await here.kpfctl("ensure", "deployment/search", "9200", "--timeout", "3s")
        assert (done.returncode, done.stdout) == (1, "")
        assert "search is still waiting: " in done.stderr
        assert "no ready pod" in done.stderr
        cluster.faults.forbid("*", "pods/portforward")
        done = await here.kpfctl("ensure", "service/web", "80")
        assert "may not create pods/portforward" in done.stderr
        await here.ended(here.instances)
        done = await here.kpfctl("ensure", "service/web", "80", KUBECTL="/no/kubectl")
        assert (done.returncode, done.stdout) == (1, "")
        assert "no instance can be started in the background: " in done.stderr
        assert "cannot run /no/kubectl: there is no such file" in done.stderr
        assert list(here.runtime.glob("*")) == []


async def test_what_an_instance_has_is_shared_if_it_is_of_the_same_cluster(tmp_path: Path) -> None:
    config = """
        context: prod
        forwards:
          web: {target: service/web, ports: ":80"}
          lazy: {target: statefulset/db, ports: ":http", lazy: true}
        """
    async with open_cluster(tmp_path) as cluster:
        kubeconfig = two_contexts(cluster, tmp_path / "two")
        async with supervising(tmp_path, NEWEST, kubeconfig, config) as instance:
            here = Scripts(instance.environment | {"KUBECTL": NEWEST.path})
            await instance.all_active("web")
            assert await here.ensure("service/web", "80", "--context", "prod") == instance.port("web")
            assert await here.ensure("db-0", "8080", "--context", "prod") not in (0, instance.port("web"))
            assert await here.ensure("sts/db", "http", "--context", "prod") == instance.port("lazy")
            (background,) = here.instances
            assert len(json.loads((await here.kpfctl("list", "-o", "json")).stdout)) == 2  # of the user's own instance

            dev = await here.ensure("service/web", "80")  # the context that is current now
            assert dev != instance.port("web")
            write_kubeconfig(kubeconfig, prod=cluster.context({"token": "a"}), dev=cluster.context({"token": "a"}))
            assert await here.ensure("service/web", "80") == instance.port("web")
            assert await here.ensure("service/web", "80", "--context", "dev") == dev

            copy = two_contexts(cluster, tmp_path / "copy")  # equal, but it may be changed alone
            other = await here.ensure("service/web", "80", "--context", "prod", KUBECONFIG=str(copy))
            assert other not in (dev, instance.port("web"))
            assert await here.ensure("service/web", "80", "--context=prod", "--kubeconfig", str(copy)) == other
            assert len(here.instances) == 2
            (mine,) = [each for each in here.instances if each != background]
            assert mine.environ()["KUBECONFIG"] == str(copy)

            named = await here.kpfctl("-f", f"{tmp_path}/config.yaml", "ensure", "svc/web", "9090", "-o", "json")
            facts = json.loads(named.stdout)
            assert (facts["context"], facts["shared"]) == ("prod", False)  # the file's
            assert facts["address"] == f"localhost:{facts['port']}"
            assert facts["leaseEnds"]
            left = here.instances
            for each in left:
                each.terminate()
            await until(lambda: not any(map(alive, left)))


async def test_who_comes_while_the_instance_ends_gets_another_one(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster, scripts(tmp_path, cluster.kubeconfig) as here:
        await here.ensure("service/web", "80")
        for end in (("shutdown",), ("stop", "--all")):
            (before,) = here.instances

            async def ask() -> None:
                assert await here.ensure("service/web", "80")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(here.kpfctl, *end)
                for _ in range(3):
                    nursery.start_soon(ask)
            port = await here.ensure("service/web", "80")
            assert (await get(port)).startswith(b"web-")
        before.kill()
        await until(lambda: not alive(before))
        after = await here.ensure("service/web", "80")  # the socket that it has left is no hindrance
        assert (await get(after)).startswith(b"web-")
        (now,) = here.instances
        assert now != before


async def test_a_killed_client_leaves_nothing(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster, scripts(tmp_path, cluster.kubeconfig) as here:
        cluster.scale("deployment/search", 0)
        words = [sys.executable, "-m", "kpf_supervise.kpfctl", "ensure", "deployment/search", "9200", "--timeout", "3s"]
        client = await trio.lowlevel.open_process(words, env=here.environment)
        logs = tmp_path / ".local/state/kpf-supervise"
        await until(lambda: any(" waiting " in log.read_text() for log in logs.glob("ensure.*.log")))
        instances = here.instances
        assert len(instances) == 1
        client.send_signal(signal.SIGKILL)
        await client.wait()
        await here.ended(instances)


async def test_who_has_to_sign_in_is_told_how_and_then_it_works(tmp_path: Path) -> None:
    plugin = CredentialPlugin(tmp_path / "plugin")
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.ask()
        kubeconfig = write_kubeconfig(tmp_path / "secure", dev=cluster.context(plugin.user))
        async with scripts(tmp_path, kubeconfig) as here:
            plugin.behave(fails="your session has expired")
            done = await here.kpfctl("ensure", "service/web", "80", "--ttl", "1m")
            assert (done.returncode, done.stdout) == (1, "")
            assert "your session has expired" in done.stderr
            line = done.stderr.splitlines()[-1].partition("Signing in for this instance: kpfctl ")[2]
            plugin.behave(fails="")
            signed: Any = await here.kpfctl(*line.split())
            assert (signed.returncode, signed.stdout) == (0, "signed in to dev\n"), signed.stderr
            assert (await get(await here.ensure("service/web", "80"))).startswith(b"web-")
            instances = here.instances
            assert (await here.kpfctl("shutdown")).returncode == 0
            await here.ended(instances)
