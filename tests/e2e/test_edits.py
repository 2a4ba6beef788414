"""Saving the configuration file applies it: only what changed is touched."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from kpf_supervise.sandbox import open_cluster
from tests.kubectls import KUBECTLS
from tests.program import Refused, get, supervising, until

NEWEST = KUBECTLS[-1]


def write(file: Path, text: str) -> None:
    file.write_text(text)


def rename_over(file: Path, text: str) -> None:
    """As most editors save."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.rename(file)


def through_a_link(file: Path, text: str) -> None:
    """As Kubernetes mounts a ConfigMap, and dotfile managers keep theirs."""
    real = file.with_name(f"real-{len(text)}.yaml")
    real.write_text(text)
    file.unlink()
    file.symlink_to(real)


@pytest.mark.parametrize("save", [write, rename_over, through_a_link])
async def test_editing_one_of_many_disturbs_exactly_one(save: Callable[[Path, str], None], tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(20 if save is write else 3)]

    def config(changed: str) -> str:
        rows = [f"  {name}: {{target: service/web, ports: ':http'}}\n" for name in names]
        rows[1] = f"  f1: {{target: {changed}, ports: ':http'}}\n"
        return "forwards:\n" + "".join(rows)

    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config("service/web")) as instance:
            await instance.all_active(*names)
            children = {child.pid for child in instance.kubectls()}
            streams = {name: await trio.open_tcp_stream("127.0.0.1", instance.port(name)) for name in names}
            for stream in streams.values():
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert b"web-" in await stream.receive_some()
            instance.read = len(instance.events)
            save(tmp_path / "config.yaml", config("statefulset/db"))
            active = await instance.until("active", "f1")
            assert active["pod"] == "db-0"
            assert await get(active["port"]) == b"db-0\n"
            assert len(children & {child.pid for child in instance.kubectls()}) == len(names) - 1
            for name, stream in streams.items():  # connections that were open are, but for the one
                if name == "f1":
                    assert await stream.receive_some() == b""
                else:
                    await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    assert b"web-" in await stream.receive_some()
                await stream.aclose()
            assert all(instance.kinds(name) == ["connecting", "active"] for name in names if name != "f1")


async def test_a_wrong_file_changes_nothing_and_the_mended_one_applies(tmp_path: Path) -> None:
    good = "forwards: {one: {target: service/web, ports: ':http'}}"
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, good) as instance:
            await instance.all_active("one")
            file = tmp_path / "config.yaml"
            file.write_text("forwards:\n  one: {target: service/web, prots: 80}\n")
            notice = await instance.until("notice")
            assert "the file was not applied, nothing has changed" in notice["message"]
            assert 'config.yaml:2:30: forwards.one.prots: unknown key "prots"' in notice["message"]
            file.unlink()
            notice = await instance.until("notice")
            while "cannot be read" not in notice["message"]:
                notice = await instance.until("notice")
            assert (await get(instance.port("one"))).startswith(b"web-")
            file.write_text(good.replace("}}", "}, two: {target: statefulset/db, ports: ':http'}}"))
            await instance.all_active("one", "two")
            file.write_text("forwards: {two: {target: statefulset/db, ports: ':http'}}")
            await instance.until("stopped", "one")
            assert await get(instance.port("two")) == b"db-0\n"
            assert instance.kinds("two") == ["connecting", "active"]
            assert instance.kinds("one") == ["connecting", "active", "stopped"]


async def test_a_port_passes_from_one_forward_to_another_and_a_taken_one_is_tried_again(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            port = holder.getsockname()[1]
            config = f"forwards: {{one: {{target: service/web, ports: '{port}:http'}}}}"
            async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance:
                await instance.until("failed", "one", cause="local-port")
                holder.close()
                file = tmp_path / "config.yaml"
                file.write_text(config + "\n")
                await instance.until("active", "one")
                file.write_text(config.replace("one", "two").replace("service/web", "statefulset/db"))
                await instance.until("active", "two", port=port)
                assert await get(port) == b"db-0\n"


async def test_a_pipe_in_the_place_of_the_file_stops_nothing(tmp_path: Path) -> None:
    config = "forwards: {one: {target: service/web, ports: ':http'}}"
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, config) as instance:
            await instance.all_active("one")
            file = tmp_path / "config.yaml"
            file.unlink()
            os.mkfifo(file)
            notice = await instance.until("notice")
            while "it is a pipe, not a regular file" not in notice["message"]:
                notice = await instance.until("notice")
            done = await instance.ctl("--socket", str(instance.socket), "reload")
            assert (done.returncode, "it is a pipe, not a regular file. Name a regular" in done.stderr) == (1, True)
            assert (await get(instance.port("one"))).startswith(b"web-")
            assert await instance.stop() == 0


async def test_a_disk_that_hangs_stops_nothing(tmp_path: Path) -> None:
    """As a network home does. The file's stat never returns from now on."""
    file, hangs = tmp_path / "config.yaml", tmp_path / "hangs"
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\n"
        "real = os.stat\n"
        "def stat(path, *words, **named):\n"
        f"    if str(path) == {str(file)!r} and os.path.lexists({str(hangs)!r}):\n"
        f"        open({str(hangs)!r}, 'a').write('x')\n"
        "        time.sleep(600)\n"
        "    return real(path, *words, **named)\n"
        "os.stat = stat\n"
    )
    config = "forwards: {one: {target: service/web, ports: ':http'}}"
    async with open_cluster(tmp_path) as cluster:
        async with (
            supervising(tmp_path, NEWEST, cluster.kubeconfig, config, PYTHONPATH=str(tmp_path)) as instance,
            instance.peer() as peer,
        ):
            await instance.all_active("one")
            hangs.write_text("")
            await until(hangs.read_text)
            assert (await get(instance.port("one"))).startswith(b"web-")
            with pytest.raises(Refused, match="no answer to reading it in 5 s"):
                await peer.call("reload")
            assert (await peer.list())["one"]["active"]
            assert hangs.read_text() == "x", "a thread is waiting already"
            assert await instance.stop() == 0


async def test_a_file_that_is_saved_unchanged_is_called_so(tmp_path: Path) -> None:
    config = "forwards: {one: {target: service/web, ports: ':http', lazy: true}}"
    async with supervising(tmp_path, NEWEST, None, config) as instance, instance.peer() as peer:
        await peer.call("reload")
        assert (await instance.until("notice"))["message"].startswith("config.yaml is unchanged")
        (tmp_path / "config.yaml").write_text(config.replace("true", "false"))
        await peer.call("reload")
        assert (await instance.until("notice"))["message"] == "config.yaml has changed, and is applied"
