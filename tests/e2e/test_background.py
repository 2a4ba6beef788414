"""What outlives a run and what runs without a terminal: persistence, --detach, the service manager."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import trio

from kpf_supervise.sandbox import open_cluster
from tests import preforked
from tests.kubectls import KUBECTLS
from tests.program import PATIENCE, Instance, get, supervising

NEWEST = KUBECTLS[-1]
CONFIG = """
    persist: true
    forwards:
      one: {target: service/web, ports: ":http"}
      two: {target: statefulset/db, ports: ":http"}
    """
LAZY = 'forwards: {it: {target: service/web, ports: ":http", lazy: true}}'


def state_of(folder: Path) -> Path:
    (found,) = (folder / ".local/state/kpf-supervise").glob("config-????????.json")
    return found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
async def test_what_was_started_and_stopped_is_so_again(how: int, tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, CONFIG) as instance, instance.peer() as peer:
            await instance.all_active("one", "two")
            given = {"resource_type": "pod", "name": "db-0", "local_port": 0, "remote_port": "http"}
            await peer.call("portforward:start", **given, id="mine")
            await peer.call("portforward:start", **given, id="gone")
            await peer.call("portforward:stop", id="gone")
            await peer.call("portforward:stop", id="two")
            before = (tmp_path / "config.yaml").read_text()
            await instance.stop(how)
        assert (tmp_path / "config.yaml").read_text() == before
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, CONFIG) as instance, instance.peer() as peer:
            await instance.all_active("one", "mine")
            listed = await peer.list()
            assert {name: each["state"] for name, each in listed.items()} == {
                "one": "active",
                "two": "stopped",
                "mine": "active",
            }
            assert await get(listed["mine"]["localPort"]) == b"db-0\n"
            await peer.call("restart", id="two")
            await peer.call("portforward:stop", id="mine")
            await instance.until("active", "two")
        state = json.loads(state_of(tmp_path).read_text())
        assert (state["started"], state["stopped"]) == ({}, {})


async def test_without_persist_nothing_is_kept_and_changed_lines_start_what_was_stopped(tmp_path: Path) -> None:
    plain = CONFIG.replace("persist: true", "")
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, plain) as instance, instance.peer() as peer:
            await instance.all_active("one", "two")
            await peer.call("portforward:stop", id="two")
        assert not (tmp_path / ".local").exists()
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, plain, "--persist") as instance:
            await instance.all_active("one", "two")
            async with instance.peer() as peer:
                await peer.call("stop_all")
        edited = plain.replace("statefulset/db", "pod/db-0")
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, edited, "--persist") as instance:
            await instance.all_active("two")
            assert instance.kinds("one") == []


async def test_a_state_that_is_not_right_is_set_aside(tmp_path: Path) -> None:
    content = '{"kpf-supervise state": 1, "sta'
    async with supervising(tmp_path, NEWEST, None, LAZY, "--persist") as instance, instance.peer() as peer:
        await peer.call("portforward:stop", id="it")
    state = state_of(tmp_path)
    for number in ("", "-2"):
        state.write_text(content)
        async with supervising(tmp_path, NEWEST, None, LAZY, "--persist") as instance, instance.peer() as peer:
            notice = await instance.until("notice")
            assert f"is set aside as {state}.broken{number}: Unterminated string" in notice["message"]
            await instance.until("idle", "it")
            await peer.call("portforward:stop", id="it")
        assert Path(f"{state}.broken{number}").read_text() == content
        assert set(json.loads(state.read_text())["stopped"]) == {"it"}


async def test_what_of_a_state_is_right_is_restored(tmp_path: Path) -> None:
    given = {"resource_type": "pod", "name": "a", "local_port": 0, "remote_port": 80, "lazy": True}
    async with supervising(tmp_path, NEWEST, None, LAZY, "--persist") as instance, instance.peer() as peer:
        for id in ("good", "bad"):
            await peer.call("portforward:start", **given, id=id)
    state = state_of(tmp_path)
    said = json.loads(state.read_text())
    said["started"]["bad"]["hold"] = "soon"
    state.write_text(json.dumps(said))
    async with supervising(tmp_path, NEWEST, None, LAZY, "--persist") as instance, instance.peer() as peer:
        notice = await instance.until("notice")
        assert 'forwards.bad.hold: "soon" is not a duration' in notice["message"]
        assert set(await peer.list()) == {"it", "good"}


async def test_a_state_that_can_not_be_written_is_told_and_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / ".local").write_text("no folder")
    async with supervising(tmp_path, NEWEST, None, LAZY, "--persist") as instance, instance.peer() as peer:
        await peer.call("portforward:stop", id="it")
        notice = await instance.until("notice")
        assert "cannot save what was started and stopped: " in notice["message"]
        assert (await peer.list())["it"]["state"] == "stopped"


async def detached(instance: Instance, *words: str) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(PATIENCE):
        return await preforked.run("-m", "kpf_supervise", "--detach", *words, env=instance.environment)


async def test_detached_it_returns_when_it_is_up_and_ends_by_kpfctl(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster, supervising(tmp_path, None, cluster.kubeconfig, LAZY) as instance:
        file = tmp_path / "the shop's.yaml"
        file.write_text('forwards: {shop: {target: service/web, ports: ":http"}}')
        done = await detached(instance, str(file), "--kubectl", NEWEST.path)
        assert done.returncode == 0, done.stderr
        told, _, end = done.stdout.decode().partition("; to end it: ")
        assert shlex.split(end) == ["kpfctl", "-f", str(file), "shutdown"]
        words = told.split()
        pid, log = int(words[words.index("pid") + 1].strip(";")), Path(told.partition("log: ")[2])
        process = psutil.Process(pid)
        try:
            assert os.getsid(pid) == pid
            assert (await instance.ctl("-f", str(file), "wait")).returncode == 0
            (listed,) = json.loads((await instance.ctl("-f", str(file), "list", "-o", "json")).stdout)
            assert (await get(listed["localPort"])).startswith(b"web-")
            again = await detached(instance, str(file))
            assert (again.returncode, f"is served by pid {pid}.".encode() in again.stderr) == (1, True)
            children = process.children(recursive=True)
            assert (await instance.ctl("-f", str(file), "shutdown")).returncode == 0
            await trio.to_thread.run_sync(process.wait, PATIENCE)
        finally:
            if process.is_running():
                process.kill()
        assert [each for each in children if each.is_running()] == []
        assert " shop             active        localhost:" in log.read_text()


async def test_what_a_killed_sandbox_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "kpf_supervise.sandbox"]

    async def run(how: int) -> Path:
        process = await trio.lowlevel.open_process(
            words, env={**os.environ, "TMPDIR": str(tmp_path)}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        async with process.stdout:
            with trio.fail_after(PATIENCE):
                folder = Path((await process.stdout.receive_some()).decode().strip().partition("=")[2]).parent
                begun = set(tmp_path.iterdir())
                process.send_signal(how)
                await process.wait()
        assert folder in begun
        return folder

    left = await run(signal.SIGKILL)
    assert left.exists()
    os.utime(left, (0, 0))  # it has been there for some time
    last = await run(signal.SIGINT)
    assert not left.exists()
    assert not last.exists()


@pytest.mark.parametrize("words", [["--detach"], ["--sandbox", "--", "true"]])
async def test_no_module_of_the_current_folder_is_run(words: list[str], tmp_path: Path) -> None:
    hostile = tmp_path / "hostile"
    (hostile / "kpf_supervise").mkdir(parents=True)
    (tmp_path / "lazy.yaml").write_text(LAZY)
    for name in ("trio.py", "json.py", "kpf_supervise/__init__.py"):
        (hostile / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w').write(__file__)\nraise SystemExit(9)\n")
    command = [sys.executable, "-P", "-m", "kpf_supervise", f"{tmp_path}/lazy.yaml", *words]
    async with supervising(tmp_path, NEWEST, None, LAZY) as instance:
        environment = {**instance.environment, "KUBECTL": NEWEST.path}
        done = await trio.run_process(
            command, cwd=hostile, env=environment, capture_stdout=True, capture_stderr=True, check=False, stdin=b""
        )
        if words == ["--detach"]:
            await instance.ctl("-f", f"{tmp_path}/lazy.yaml", "shutdown")
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()
    assert done.returncode == 0, done.stderr


async def test_detached_it_says_what_keeps_it_from_starting(tmp_path: Path) -> None:
    async with supervising(tmp_path, NEWEST, None, LAZY) as instance:
        wrong = tmp_path / "wrong.yaml"
        wrong.write_text("forwards: 1")
        done = await detached(instance, str(wrong))
        assert (done.returncode, b"wrong.yaml:1:11: forwards" in done.stderr) == (2, True), done.stderr
        done = await detached(instance, str(tmp_path / "config.yaml"), "--", "true")
        assert (done.returncode, b"can't be combined" in done.stderr) == (2, True)
        done = await detached(instance, str(tmp_path / "config.yaml"), "--socket=/proc/no.sock")
        assert (done.returncode, b"cannot make the control socket" in done.stderr) == (1, True), done.stderr


async def test_the_service_manager_hears_when_all_are_up(tmp_path: Path) -> None:
    path = Path(f"/tmp/kpf-notify-{os.getpid()}")
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        await manager.bind(str(path))
        try:
            async with open_cluster(tmp_path) as cluster:
                cluster.scale("deployment/search", 0)
                config = """
                    forwards:
                      web: {target: service/web, ports: ":http"}
                      search: {target: deployment/search, ports: ":9200"}
                      lazy: {target: service/web, ports: ":http", lazy: true}
                      off: {target: service/web, ports: ":http", enabled: false}
                    """
                environment = {"NOTIFY_SOCKET": str(path)}
                async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config, **environment) as instance:
                    await instance.until("waiting", "search")
                    await instance.all_active("web")
                    with trio.fail_after(PATIENCE):
                        while (said := await manager.recv(999)) != b"STATUS=3 of 4 forwards are up; search is waiting":
                            assert b"READY=1" not in said
                        cluster.scale("deployment/search", 1)
                        while b"READY=1" not in (said := await manager.recv(999)):
                            pass
                        assert said == b"STATUS=4 of 4 forwards are up\nREADY=1"
                        instance.process.terminate()
                        while await manager.recv(999) != b"STOPPING=1":
                            pass
        finally:
            path.unlink()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
async def test_systemd_finds_nothing_wrong_with_the_readmes_unit(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent.parent / "docs/running-as-a-service.md").read_text()
    text = page.partition("```ini\n")[2].partition("```")[0].replace("%h/.local/bin/kpf-supervise", "/bin/true")
    unit = tmp_path / "kpf-supervise.service"
    unit.write_text(text)
    done = await trio.run_process(
        ["systemd-analyze", "--user", "verify", str(unit)], capture_stderr=True, capture_stdout=True, check=False
    )
    assert b"kpf-supervise.service:" not in done.stderr, done.stderr
