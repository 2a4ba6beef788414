"""Saving the configuration file applies it: only what changed is touched."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from supervisor.sandbox import open_cluster

from .instance import get, supervising
from .kubectls import KUBECTLS

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
            notice = await instance.until("notice")
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
