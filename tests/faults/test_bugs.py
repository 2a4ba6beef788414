"""A bug in one part of the program: that part is begun anew, the rest goes on, and the log has the traceback once."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from kpf_supervise.sandbox import Cluster, open_cluster
from tests.conftest import NEWEST
from tests.load import Load
from tests.program import PATIENCE, Instance, supervising

# What Python is told to run: the program, whose FUNCTION of a MODULE fails once, as soon as WHEN holds.
PROGRAM = """\
import os, kpf_supervise.{module} as module
whole, left = module.{function}, [1]
def broken(*args, **more):
    if left and ({when}):
        left.clear()
        raise ZeroDivisionError("of our own")
    return whole(*args, **more)
module.{function} = broken
from kpf_supervise.cli import program as cli
cli.program()
"""
CONFIG = """\
    namespace: dev
    forwards:
      web: {target: service/web, ports: ":80"}
      it: {target: statefulset/db, ports: ":8080"}
"""


@asynccontextmanager
async def broken(
    folder: Path, module: str, function: str, when: str = "True", **variables: str
) -> AsyncIterator[tuple[Instance, Cluster]]:
    """An instance with that bug around the block, once both forwards are active; `web` answers each request."""
    program = PROGRAM.format(module=module, function=function, when=when)
    async with open_cluster(folder) as cluster:
        async with supervising(
            folder, NEWEST, cluster.kubeconfig, CONFIG, program=("-c", program), **variables
        ) as instance:
            await instance.all_active("web", "it")
            async with trio.open_nursery() as nursery:
                load = Load(instance.port("web"))
                nursery.start_soon(load.run)
                await load.more(5)
                yield instance, cluster
                await load.more(5)
                nursery.cancel_scope.cancel()
            assert load.failures == []
            traces = [event for event in instance.events if "traceback" in event]
            assert ["ZeroDivisionError: of our own" in event["traceback"] for event in traces] == [True]
            assert instance.process.poll() is None
            assert await instance.stop() == 0


async def test_in_a_forward(tmp_path: Path) -> None:
    of_it = "args[0].settings.id == 'it' and args[2].state != 'serving'"
    async with broken(tmp_path, "forwarding.forwarder", "Forwarder._become", of_it) as (instance, cluster):
        port = instance.port("it")
        cluster.delete_pod("db-0", grace=0)
        failed = await instance.until("failed", "it", cause="internal")
        assert "an error in kpf-supervise itself: ZeroDivisionError: of our own" in failed["message"]
        async with await trio.open_tcp_stream("127.0.0.1", port) as held:  # before it is begun anew
            await held.send_all(b"GET / HTTP/1.1\r\nHost: db\r\nConnection: close\r\n\r\n")
            with trio.fail_after(20):
                assert b"db-0" in b"".join([chunk async for chunk in held])
        assert instance.kinds("it").count("failed") == 1


async def test_in_a_watch(tmp_path: Path) -> None:
    async with broken(tmp_path, "watching.watch", "Watch._take") as (instance, cluster):
        cluster.delete_pod("db-0", grace=0)
        notice = await instance.until("notice")
        assert notice["message"].startswith("the watch of pods in namespace dev: an error in kpf-supervise itself: ")
        await instance.until("moved", "it")
        cluster.delete_pod("db-0", grace=0)
        await instance.until("waiting", "it")  # it is followed again
        assert "failed" not in instance.kinds("web")


async def test_in_the_look_for_edits(tmp_path: Path) -> None:
    edited = tmp_path / "config.yaml"
    async with broken(tmp_path, "loading.watcher", "_look", f"'more' in open({str(edited)!r}).read()") as (instance, _):
        edited.write_text(edited.read_text() + '  more: {target: service/web, ports: ":80"}\n')
        await instance.until("notice")
        await instance.until("active", "more")


BACKGROUND = [
    ("app", "notify"),
    ("instance.supervisor", "on_wake"),
    ("kubectl.contexts", "Contexts.check_version"),
    ("kubectl.orphan_guard", "OrphanGuard.keep"),
]


@pytest.mark.parametrize(("module", "function"), BACKGROUND)
async def test_in_what_runs_beside_the_forwards(module: str, function: str, tmp_path: Path) -> None:
    async with broken(tmp_path, module, function) as (instance, _):
        assert "failed" not in instance.kinds("it")


async def test_in_the_word_to_the_service_manager(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "m"))
        async with broken(tmp_path, "runtime.systemd", "missing", NOTIFY_SOCKET=str(tmp_path / "m")) as (instance, _):
            await instance.until("notice")


@pytest.mark.parametrize("function", ["peer_uid", "Connection.__init__"])  # in the connection's task, and before it
async def test_in_a_control_connection(function: str, tmp_path: Path) -> None:
    now = tmp_path / "now"
    async with broken(tmp_path, "control.server", function, f"os.path.exists({str(now)!r})") as (instance, _):
        async with instance.peer() as before:
            assert (await before.list())["it"]["active"]
            now.touch()
            async with instance.peer() as concerned:
                assert await concerned.next() is None
            await instance.until("notice")
            if function == "peer_uid":
                assert (await before.list())["it"]["active"]
            async with instance.peer() as after:
                assert (await after.list())["it"]["active"]


async def test_in_the_printer_of_events(tmp_path: Path) -> None:
    """Whatever it prints would need it: this traceback goes to stderr as it is."""
    program = PROGRAM.format(module="events.log", function="as_json", when="args[0].kind == 'stopped'")
    config = 'forwards: {it: {target: service/web, ports: ":80", lazy: true}}'
    async with (
        supervising(tmp_path, NEWEST, None, config, program=("-c", program)) as instance,
        instance.peer() as peer,
    ):
        await instance.until("idle", "it")
        await peer.call("portforward:stop", id="it")
        await instance.told(lambda: "ZeroDivisionError: of our own" in instance.output)
        notice = (await peer.call("events"))[-1]
        assert notice["message"].startswith("printing events: an error in kpf-supervise itself: ")
        told = len(instance.events)
        with trio.fail_after(PATIENCE):
            while len(instance.events) == told:  # it is begun anew within a second; nothing tells of it
                await peer.call("restart", id="it")
                await trio.sleep(0.05)
        assert instance.output.count("ZeroDivisionError: of our own") == 1
        assert await instance.stop() == 0
