"""The control socket itself: who serves it, who may use it, and what it stands."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from kpf_supervise import __version__
from kpf_supervise.sandbox import open_cluster
from tests import preforked
from tests.e2e.test_control import LAZY, NEWEST, ONE, start
from tests.program import Instance, Refused, free_port, get, supervising


async def test_no_call_reads_code_that_an_upgrade_may_have_replaced(tmp_path: Path) -> None:
    """Whatever a call needs was imported before: an environment may be upgraded, or removed, under a running instance.
    (Who holds a taken port is looked for with psutil, which takes too long to import at each start.)"""
    async with open_cluster(tmp_path) as cluster:
        traced = supervising(tmp_path, NEWEST, cluster.kubeconfig, ONE, PYTHONPROFILEIMPORTTIME="1")
        async with traced as instance, instance.peer() as peer:
            await instance.all_active("one")
            before = imported(instance)
            assert any("kpf_supervise" in name for name in before)
            assert (await peer.call("info"))["version"] == __version__
            await peer.call("subscribe")
            for port, remote in ((0, 8080), (0, 81), (free_port(), "http")):
                await peer.call("portforward:start", **start(id=f"it-{remote}", local_port=port, remote_port=remote))
            await peer.call(
                "portforward:start", **start("app=search", 0, 9200, resource_type="selector", id="by-label")
            )
            with pytest.raises(Refused, match="there is a forward by-label already"):
                await peer.call("portforward:start", **start("app=search", resource_type="selector", id="by-label"))
            await peer.call("portforward:start", **start("nosuch", 0, context="nosuch"))
            await instance.until("failed", "nosuch")
            for method in ("restart", "logs", "portforward:stop"):
                await peer.call(method, id="one")
            with pytest.raises(Refused, match="Did you mean by-label"):
                await peer.call("logs", id="by-labl")
            for text in (ONE + "\npersist: true", "forwards: {one: {target: 1, prots: 2}, two: 3, two: 4}", ": [", ONE):
                (tmp_path / "config.yaml").write_text(text)
                with suppress(Refused):
                    await peer.call("reload")
            for method in ("events", "portforward:list", "stop_all", "shutdown"):
                await peer.call(method)
            assert await instance.process.wait() == 0
            assert imported(instance)[len(before) :] == []


def imported(instance: Instance) -> list[str]:
    """The modules that it has imported so far, in order."""
    return [line.rpartition("|")[2].strip() for line in instance.output if line.startswith("import time:")]


async def second(instance: Instance, file: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(20):
        return await preforked.run("-m", "kpf_supervise", str(file), *words, env=instance.environment)


async def test_a_second_instance_is_refused_and_a_dead_ones_socket_replaced(tmp_path: Path) -> None:
    async with supervising(tmp_path, NEWEST, None, LAZY) as instance, instance.peer() as peer:
        await instance.until("idle", "it")
        path = instance.socket
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        refused = await second(instance, tmp_path / "config.yaml")
        assert refused.returncode == 1
        assert f"is served by pid {instance.process.pid}. ".encode() in refused.stderr
        assert f"end it with: kpfctl -f {tmp_path}/config.yaml shutdown".encode() in refused.stderr
        named = path.parent / ".." / path.parent.name / path.name  # not the default as it is written
        own = await second(instance, tmp_path / "config.yaml", f"--socket={named}")
        assert f"end it with: kpfctl --socket {named} shutdown".encode() in own.stderr
        assert (await peer.call("info"))["pid"] == instance.process.pid
        assert await instance.stop(signal.SIGKILL) == -signal.SIGKILL
        assert path.exists()
        third = await second(instance, tmp_path / "config.yaml", "--", "sh", "-c", "test -S $KPF_SOCKET")
        assert third.returncode == 0, third.stderr
        (tmp_path / "config.yaml").write_text(LAZY + f"\nsocket: {path}")
        ctl = f"{sys.executable} -m kpf_supervise.kpfctl -f config.yaml list -o name | grep -qx it"
        script = f"test $KPF_SOCKET = {path} && unset KPF_SOCKET && cd {tmp_path} && {ctl}"
        replaced = await second(instance, tmp_path / "config.yaml", "--", "sh", "-c", script)
        assert replaced.returncode == 0, replaced.stderr
        assert not path.exists()


@pytest.mark.parametrize("what", ["file", "folder", "long", "closed"])
async def test_a_socket_that_can_not_be_is_named_and_nothing_is_lost(what: str, tmp_path: Path) -> None:
    path = tmp_path / ("x" * 100 if what == "long" else what)
    if what == "file":
        path.write_text("mine")
    elif what == "folder":
        path.mkdir()
    async with supervising(tmp_path, NEWEST, None, LAZY) as instance:
        if what == "closed":
            path = Path("/proc/no/such")
        done = await second(instance, tmp_path / "config.yaml", f"--socket={path}")
    assert done.returncode in (1, 2)
    assert path.name.encode()[:90] in done.stderr
    assert b"Traceback" not in done.stderr
    assert what != "file" or path.read_text() == "mine"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
async def test_another_user_is_turned_away_even_where_the_socket_is_open_to_all(tmp_path: Path) -> None:
    async with supervising(tmp_path, NEWEST, None, LAZY) as instance:
        await instance.until("idle", "it")
        path = instance.socket
        for each in (path.parent.parent, path.parent, path):
            each.chmod(0o777)
        script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.recv(999))"
        command = ["/usr/bin/env", "python3", "-c", script, str(path)]
        done = await trio.run_process(command, user=65534, capture_stdout=True, stdin=b"", cwd="/")
        assert b"belongs to another user" in done.stdout


async def test_a_thousand_connections_and_one_that_never_reads_hurt_nobody(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, ONE) as instance:
            await instance.all_active("one")
            path, many = str(instance.socket), []
            deaf = await trio.open_unix_socket(path)
            with trio.move_on_after(1):  # it takes no answer: its requests are taken no more after a while
                while True:
                    await deaf.send_all(b'{"jsonrpc":"2.0","id":1,"method":"events"}\n' * 100)
            for _ in range(1000):
                many.append(await trio.open_unix_socket(path))
                await trio.lowlevel.checkpoint()
            async with instance.peer() as peer:
                assert (await peer.list())["one"]["active"]
                answers = [b"" for _ in many]
                for number, each in enumerate(many):
                    with trio.move_on_after(0.01):
                        answers[number] = bytes(await each.receive_some())
                    await trio.aclose_forcefully(each)
                assert sum(b"more than 100 connections are open" in answer for answer in answers) >= 890
                assert (await peer.list())["one"]["active"]
            assert (await get(instance.port("one"))).startswith(b"web-")
            assert instance.kinds("one") == ["connecting", "active"]
            await trio.aclose_forcefully(deaf)
