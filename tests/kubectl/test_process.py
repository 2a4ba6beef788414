"""Processes and their keeper, with shells in kubectl's place: what matters here is not kubectl's."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tracemalloc
from contextlib import aclosing

import psutil
import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from kpf_supervise.decision.tunnel_states import Endpoint
from kpf_supervise.forwarding.tunnel import Tunnel
from kpf_supervise.kubectl import process as module
from kpf_supervise.kubectl.orphan_guard import open_orphan_guard
from kpf_supervise.kubectl.process import lines, output, running
from kpf_supervise.model import FINAL, Cause, ForwardError


async def test_output_and_its_failures() -> None:
    async with open_orphan_guard() as keeper:
        assert await output(["sh", "-c", "echo one; echo two"], keeper) == b"one\ntwo\n"
        with pytest.raises(ForwardError) as caught:
            await output(["sh", "-c", "echo 'Error from server (NotFound): pods \"x\" not found' >&2; exit 1"], keeper)
        assert caught.value.problem.cause is Cause.NO_SUCH_OBJECT
        with pytest.raises(ForwardError) as caught:
            await output(["sleep", "60"], keeper, timeout=0.1)
        assert caught.value.problem.cause is Cause.TOO_SLOW
        with pytest.raises(ForwardError) as caught:
            await output(["no-such-kubectl"], keeper)
        assert str(caught.value).startswith("cannot run no-such-kubectl: No such file or directory. Install kubectl")


async def test_an_answer_that_takes_long_is_no_silence() -> None:
    async with open_orphan_guard() as keeper:
        script = "for each in 1 2 3 4 5 6 7 8; do echo $each; sleep 0.25; done"
        assert await output(["sh", "-c", script], keeper, timeout=1.5) == b"1\n2\n3\n4\n5\n6\n7\n8\n"


async def test_a_shortage_that_passes_is_not_final(monkeypatch: pytest.MonkeyPatch) -> None:
    async def open_process(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async with open_orphan_guard() as keeper:
        monkeypatch.setattr(trio.lowlevel, "open_process", open_process)
        with pytest.raises(ForwardError) as caught:
            await output(["kubectl"], keeper)
        monkeypatch.undo()
    assert caught.value.problem.cause not in FINAL
    assert str(caught.value).startswith("kubectl can't be started now: Too many open files")


class Chunks(trio.abc.ReceiveStream):
    """A stream that brings these, piece by piece."""

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = iter(chunks)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return next(self._chunks, b"")

    async def aclose(self) -> None:
        pass


@given(st.lists(st.binary(min_size=1) | st.sampled_from([b"\n", b"a\nb", b"abcd", b"e\n\n"])), st.integers(1, 6))
@example([b"abcd", b"ef\ng", b"hi"], 4)
@example([b"abc", b"", b"def\n"], 6)
def test_lines_are_the_same_in_any_chunks_and_long_ones_are_cut(chunks: list[bytes], limit: int) -> None:
    async def read() -> list[bytes]:
        return [line async for line in lines(Chunks([chunk for chunk in chunks if chunk]), limit)]

    *whole, rest = b"".join(chunks).split(b"\n")
    expected = [line[:limit] for line in ([*whole, rest] if rest else whole)]
    assert trio.run(read) == expected


async def test_output_without_line_ends_takes_no_more_than_a_line_may() -> None:
    """Of 64 MiB the first part is kept, and the line after it is whole."""
    chunk, count = bytes(64 * 1024), 1024
    copied = 0

    class Stream(Chunks):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            nonlocal copied
            copied = max(copied, tracemalloc.get_traced_memory()[0])
            return await super().receive_some(max_bytes)

    tracemalloc.start()
    said = [line async for line in lines(Stream([chunk] * count + [b"\nlast"]))]
    tracemalloc.stop()
    assert said == [chunk, b"last"]
    assert copied < 8 * len(chunk)


async def test_one_that_ignores_sigint_is_killed_after_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.2)
    async with open_orphan_guard() as keeper:
        async with running(["sh", "-c", "trap '' INT; echo up; while :; do sleep 1; done"], keeper) as process:
            assert process.stdout is not None
            assert await process.stdout.receive_some() == b"up\n"
        assert process.returncode == -signal.SIGKILL


async def test_a_grandchild_that_keeps_the_pipe_holds_nothing_up() -> None:
    """As an exec credential plugin does. It ends with the keeper."""
    async with open_orphan_guard() as keeper:
        with trio.fail_after(5):
            assert await output(["sh", "-c", "sleep 60 & echo $!"], keeper) != b""


async def test_all_end_with_the_keeper_even_if_nobody_stops_them() -> None:
    async with open_orphan_guard() as keeper:
        process = await trio.lowlevel.open_process(["sleep", "60"], process_group=keeper.group)
    with trio.fail_after(5):
        assert await process.wait() == -signal.SIGKILL


SUPERVISOR = """
import subprocess, sys, trio
from kpf_supervise.kubectl.orphan_guard import open_orphan_guard
async def main():
    async with open_orphan_guard() as keeper:
        kubectl = await trio.lowlevel.open_process(["sleep", "60"], process_group=keeper.group)
        print(keeper.group, kubectl.pid, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


async def test_kill_9_of_the_supervisor_leaves_nobody() -> None:
    supervisor = await trio.lowlevel.open_process([sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE)
    assert supervisor.stdout is not None
    async with supervisor.stdout, aclosing(lines(supervisor.stdout)) as said:
        group, child = map(int, (await anext(said)).split())
    watched = [psutil.Process(group), psutil.Process(child)]
    os.kill(supervisor.pid, signal.SIGKILL)
    await supervisor.wait()
    _, alive = await trio.to_thread.run_sync(psutil.wait_procs, watched, 5)
    assert alive == []


def new_child() -> Tunnel:
    return Tunnel(Endpoint(None, "web-1", 8080), lambda: None, print)


@pytest.mark.parametrize("pause", ["", "sleep 0.05;"])
async def test_a_child_is_ready_when_it_says_so_and_its_last_words_are_kept(pause: str) -> None:
    script = f"""
        echo 'Forwarding from 127.0.0.1:34911 -> 8080'; echo 'Handling connection for 34911'; {pause}
        echo 'error: lost connection to pod' >&2; exit 1"""
    child = new_child()
    async with open_orphan_guard() as keeper:
        await child.run(["sh", "-c", script], keeper, os.environ)
    assert (child.port, child.handled) == (34911, 1)
    assert child.begun.is_set()
    assert child.exited is not None
    assert (child.exited.cause, child.exited.message) == (Cause.LOST, "lost connection to pod")


async def test_a_child_that_never_gets_ready_has_its_cause() -> None:
    child = new_child()
    script = "echo 'error: unable to forward port because pod is not running. Current status=Pending' >&2; exit 1"
    async with open_orphan_guard() as keeper:
        await child.run(["sh", "-c", script], keeper, os.environ)
    assert child.ready is None
    assert child.exited is not None
    assert child.exited.cause is Cause.POD_NOT_RUNNING


async def test_many_lines_do_not_stop_a_child() -> None:
    """kubectl writes a line for each connection; a full pipe would stop it."""
    script = "echo 'Forwarding from 127.0.0.1:1 -> 2'; yes 'Handling connection for 1' | head -n 50000"
    child = new_child()
    async with open_orphan_guard() as keeper:
        with trio.fail_after(20):
            await child.run(["sh", "-c", script], keeper, os.environ)
    assert child.handled == 50_000
