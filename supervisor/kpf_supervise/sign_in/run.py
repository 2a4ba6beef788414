"""One run of a credential plugin, as kubectl would run it."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.kubectl.process import GRACE, lines, read_to_end, running
from kpf_supervise.model import Cause, ForwardError, Problem
from kpf_supervise.sign_in.credential import BadAnswer, Credential, read_credential
from kpf_supervise.sign_in.plugin import Plugin, PluginFailed
from kpf_supervise.text import redact

_STDERR = 2
_LONGEST_ANSWER = 1024 * 1024  # bytes
_LONGEST = 300  # characters of the plugin's own words in a message
_WANTS_A_TERMINAL = re.compile(r"(?i)\b(terminal|tty|stdin)\b|not interactive|non-interactive")
# Ends the plugin if we are killed: it can't be in the guard's group, since only one group can read from the terminal.
_WATCH = 'trap "" INT TERM HUP QUIT; read _ || kill -9 "$0"'


async def run_plugin(
    plugin: Plugin,
    folder: Path | None,
    cluster: Mapping[str, Any] | None,
    guard: OrphanGuard,
    heard: Callable[[str], None],
    terminal: bool = False,
) -> Credential:
    """Run it to its end, however long its user takes. `folder` is the one of its kubeconfig file, `cluster` the entry
    that it is told. `heard` gets each line that it writes to stderr, redacted. With `terminal`, it gets our terminal
    instead: it reads from it, and what it writes to stderr is shown there as it comes. Raises PluginFailed, or
    ForwardError if no process can be started now. Cancelling ends it."""
    who = f"the kubeconfig's credential plugin {plugin.name}"
    if plugin.mode == "Always" and not terminal:
        raise PluginFailed(f"{who} wants to ask you something, and there is no terminal here", wants_terminal=True)
    environment = plugin.environment(os.environ, plugin.info(cluster, terminal))
    said: list[str] = []

    async def read_stderr(stream: trio.abc.ReceiveStream) -> None:
        async for line in lines(_shown(stream) if terminal else stream):
            if text := redact(line.decode(errors="replace").strip()):
                said.append(text)
                if not terminal:
                    heard(text)

    out = bytearray()

    async def read_stdout(stream: trio.abc.ReceiveStream) -> None:
        async for piece in stream:
            if len(out) <= _LONGEST_ANSWER:
                out.extend(piece)

    start = _on_terminal if terminal else running
    try:
        async with start(plugin.line(folder), guard, environment) as process, trio.open_nursery() as nursery:
            assert process.stdout is not None
            nursery.start_soon(read_stdout, process.stdout)
            assert process.stderr is not None
            nursery.start_soon(read_stderr, process.stderr)
            code = await read_to_end(process, nursery)
    except ForwardError as trouble:
        raise _not_started(trouble, plugin, who) from trouble.__cause__
    if code != 0:
        words = " ".join(dict.fromkeys(said))
        words = words if len(words) <= _LONGEST else f"{words[:_LONGEST]}…"
        how = f"was ended by signal {-code}" if code < 0 else f"exit code {code}"
        wants = not terminal and plugin.asks and bool(_WANTS_A_TERMINAL.search(words))
        raise PluginFailed(f"{who} failed: {words or how}", wants_terminal=wants)
    try:
        return read_credential(bytes(out), plugin.version, time.time())
    except BadAnswer as error:
        raise PluginFailed(
            f"{who} gave no credential: {error}", "Check it, and its apiVersion in the kubeconfig"
        ) from None


async def _shown(stream: trio.abc.ReceiveStream) -> AsyncGenerator[bytes, None]:
    """Pass it on as it comes: a prompt has no newline."""
    async for piece in stream:
        with suppress(OSError):
            os.write(_STDERR, piece)
        yield bytes(piece)


def _not_started(trouble: ForwardError, plugin: Plugin, who: str) -> ForwardError:
    if trouble.problem.cause is not Cause.KUBECTL:
        return ForwardError(
            Problem(Cause.OTHER, trouble.problem.message.replace("kubectl", who), trouble.problem.next_step)
        )
    error = trouble.__cause__
    if isinstance(error, FileNotFoundError):
        step = " ".join(plugin.hint.split()) or "Install it, or fix its command in the kubeconfig"
        return PluginFailed(f"{who} is not installed", step)
    why = error.strerror if isinstance(error, OSError) else error
    return PluginFailed(f"{who} can't be run: {why}", "Fix its command in the kubeconfig")


@asynccontextmanager
async def _on_terminal(
    command: Sequence[str], guard: OrphanGuard, environment: Mapping[str, str] | None = None
) -> AsyncIterator[trio.Process]:
    """As `running`, with our stdin. It is in our process group: that is in the terminal's foreground, so it may read,
    and Ctrl-C reaches us both."""
    pipe = subprocess.PIPE
    try:
        process = await trio.lowlevel.open_process(list(command), stdout=pipe, stderr=pipe, env=environment)
    except OSError as error:
        raise ForwardError(Problem(Cause.KUBECTL, "")) from error
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with process.stdout, process.stderr, _watched(process, guard):
            try:
                yield process
            finally:
                await _end(process)
    finally:
        await _end(process)  # where it could not be watched


async def _end(process: trio.Process) -> None:
    with trio.CancelScope(shield=True):
        if process.poll() is None:
            process.terminate()
            with trio.move_on_after(GRACE):
                await process.wait()
        if process.poll() is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def _watched(process: trio.Process, guard: OrphanGuard) -> AsyncIterator[None]:
    """During the block, the process is killed if we are."""
    watch = await trio.lowlevel.open_process(
        ["/bin/sh", "-c", _WATCH, str(process.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=guard.group,
    )
    assert watch.stdin is not None
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            with suppress(trio.BrokenResourceError):
                await watch.stdin.send_all(b"\n")
            await watch.wait()
            await watch.stdin.aclose()
