"""Starts kpf-supervise and kpfctl by a fork of a Python that has imported them, which takes a tenth of the CPU time.

Two thirds of a short run are imports, and the tests start several hundred. So each test process has one helper, begun
at the first start, that imports the modules of both commands and then forks for each start: the fork gets the
arguments, environment and files of the start, and runs the module as `python -m` does. It is the same program in a
process of its own; only the start of the interpreter itself is left out. A start that depends on that (other variables
for Python or its encodings, other arguments of Python) is a real one, and so is each start on macOS, whose libraries do
not allow such a fork. The installed commands are tested by `tests/e2e/test_install.py`.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import termios
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from typing import Any

import trio

MODULES = ("kpf_supervise", "kpf_supervise.kpfctl")
IMPORTED = ("kpf_supervise.cli.program", "kpf_supervise.app", "kpf_supervise.kpfctl.program")
LARGEST = 1_000_000  # bytes of a request
NUMBER = 16  # bytes of a pid or an exit code in a pipe
CAN_FORK = sys.platform == "linux"


def of_python(environment: Mapping[str, str]) -> dict[str, str]:
    """What the interpreter reads when it starts: its own variables, and the locale of text."""
    own = {name: value for name, value in environment.items() if name.startswith("PYTHON")}
    return own | {"LC_CTYPE": next(filter(None, map(environment.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "")}


class Process:
    """A fork, with those parts of trio.Process that tests use."""

    def __init__(self, pid: int, status: int, stdout: int | None, stderr: int | None) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout = None if stdout is None else trio.lowlevel.FdStream(stdout)
        self.stderr = None if stderr is None else trio.lowlevel.FdStream(stderr)
        self._status = status  # the exit code comes from it
        weakref.finalize(self, os.close, status)  # not sooner: somebody may be waiting for it
        self._waiting = trio.Lock()

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self.returncode = int(os.read(self._status, NUMBER))
        return self.returncode

    async def wait(self) -> int:
        async with self._waiting:
            while (code := self.poll()) is None:
                await trio.lowlevel.wait_readable(self._status)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Helper:
    """The Python that forks."""

    def __init__(self) -> None:
        self.variables = of_python(os.environ)
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.preforked"]
            # its stdout can not seek, as the pipes of its forks
            self._process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=theirs.fileno())

    async def start(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        stdout: int | None,
        stderr: int | None,
        terminal: int | None,
    ) -> Process:
        """Like `start`, for the given arguments of `python -m`."""
        with ExitStack() as stack:

            def pipe() -> tuple[int, int]:
                reading, writing = os.pipe()
                stack.callback(os.close, writing)
                return reading, writing

            def output(number: int, how: int | None) -> tuple[int | None, int]:
                return pipe() if how == subprocess.PIPE else (None, number)

            nothing = os.open(os.devnull, os.O_RDONLY)
            stack.callback(os.close, nothing)
            (printed, to_print), (told, to_tell), (status, to_status) = output(1, stdout), output(2, stderr), pipe()
            files = [nothing, to_print, to_tell] if terminal is None else [terminal] * 3
            request = json.dumps([list(words), dict(environment), terminal is not None]).encode()
            socket.send_fds(self._requests, [request], [*files, to_status])
        await trio.lowlevel.wait_readable(status)
        return Process(int(os.read(status, NUMBER)), status, printed, told)

    def end(self) -> None:
        self._requests.close()
        self._process.wait()


_helper: Helper | None = None


def end() -> None:
    """End the helper, if there is one. Its forks are not ended."""
    global _helper  # noqa: PLW0603
    if _helper is not None:
        _helper.end()
    _helper = None


async def start(
    words: Sequence[str],
    environment: Mapping[str, str],
    *,
    stdout: int | None = None,
    stderr: int | None = None,
    terminal: int | None = None,
) -> Process | trio.Process:
    """Start Python with these arguments and no input. The outputs are subprocess.PIPE, or None: those of the tests.
    With a terminal, it leads a session that this terminal controls, and reads and writes there."""
    global _helper  # noqa: PLW0603
    if CAN_FORK and words[0] == "-m" and words[1] in MODULES:
        _helper = _helper or Helper()
        if of_python(environment) == _helper.variables:
            return await _helper.start(words[1:], environment, stdout, stderr, terminal)
    command = [sys.executable, *words]
    if terminal is not None:
        return await in_session(command, environment, terminal)
    return await trio.lowlevel.open_process(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr
    )


async def in_session(command: Sequence[str], environment: Mapping[str, str], terminal: int) -> trio.Process:
    """Start a program in a session of its own, which this terminal controls."""
    return await trio.lowlevel.open_process(
        list(command),
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=partial(fcntl.ioctl, 0, termios.TIOCSCTTY, 0),
    )


async def run(*words: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run Python with these arguments to its end, with no input, and return what it has written."""
    process = await start(words, env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    written: dict[str, bytes] = {}

    async def read(what: str, stream: Any) -> None:
        async with stream:
            written[what] = b"".join([chunk async for chunk in stream])

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, "stdout", process.stdout)
            nursery.start_soon(read, "stderr", process.stderr)
            code = await process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
    return subprocess.CompletedProcess(words, code, written["stdout"], written["stderr"])


def serve(requests: socket.socket) -> list[str]:
    """Fork for each request until the tests end. Returns in the forks only, with what is to be run."""
    reports: dict[int, int] = {}  # of each child: where its exit code is written
    ended, ending = socket.socketpair()
    ending.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ending.fileno())
    while True:
        ready = select.select([requests, ended], [], [])[0]
        if ended in ready:
            ended.recv(4096)
            while reports and (found := os.waitpid(-1, os.WNOHANG))[0]:
                report = reports.pop(found[0])
                os.write(report, b"%*d" % (NUMBER, os.waitstatus_to_exitcode(found[1])))
                os.close(report)
        if requests in ready:
            request, files, _, _ = socket.recv_fds(requests, LARGEST, 4)
            if not request:
                sys.exit()
            pid = os.fork()
            if not pid:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (ended, ending):
                    each.close()
                words, environment, in_terminal = json.loads(request)
                become(files[:3], environment)
                if in_terminal:
                    os.setsid()
                    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
                for file in (*files, *reports.values()):
                    os.close(file)
                return list(words)
            reports[pid] = files.pop()
            os.write(reports[pid], b"%*d" % (NUMBER, pid))
            for file in files:
                os.close(file)


def become(files: Sequence[int], environment: Mapping[str, str]) -> None:
    """Take over the standard files and the environment."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()


if __name__ == "__main__":
    with socket.socket(fileno=os.dup(0)) as inbox:
        for each in IMPORTED:
            import_module(each)
        gc.freeze()
        sys.argv = serve(inbox)
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
