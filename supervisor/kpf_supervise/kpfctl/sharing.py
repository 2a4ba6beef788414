"""How kpfctl asks for a shared forward: of every instance that runs, else of one in the background, which it begins.

Any of them may end at any moment: then the next one is asked.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kpf_supervise.control.client import Client, Gone, NoAnswer, Refused, running
from kpf_supervise.control.jsonrpc import ENDING, METHOD_NOT_FOUND
from kpf_supervise.kubectl.kubeconfigs import paths_of
from kpf_supervise.model import ANYWHERE, Cause
from kpf_supervise.runtime.background import background_socket
from kpf_supervise.runtime.detach import NotUp, begin, log_of
from kpf_supervise.runtime.paths import make_private, runtime_folder

_QUICK = 5.0  # seconds within which any instance that works answers a plain question
_MARGIN = 15.0  # seconds beyond the time limit: kubectl is asked what the kubeconfig says, and what failed is stopped


def ensure(socket: Path, timeout: float, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The forward, from the instance at this socket. Raises NoAnswer and Refused."""
    with Client(socket, timeout + _MARGIN) as client:
        found: dict[str, Any] = _asked(client, socket, timeout, wanted)
    return found


def ensure_anywhere(kubeconfigs: tuple[str, ...], timeout: float, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The forward, from an instance that has it, or else from the one in the background for these kubeconfigs. Raises
    NoAnswer and Refused."""
    until = time.monotonic() + timeout
    wanted = {**wanted, "kubeconfig": os.pathsep.join(kubeconfigs)}
    own = background_socket(kubeconfigs)
    for socket in sorted(running(), key=lambda each: each != own):
        if (found := _shared(socket, max(until - time.monotonic(), 0), wanted)) is not None:
            return found
    while True:
        try:
            return ensure(own, max(until - time.monotonic(), 0), wanted)
        except Gone:
            if time.monotonic() >= until:
                raise
            _begin(own, kubeconfigs)
        except Refused as refused:
            if refused.code != ENDING or time.monotonic() >= until:
                raise
            _wait_for_end(own, until)


def seconds(duration: float) -> str:
    """As the protocol has it."""
    return f"{duration:.3f}s"


def _shared(socket: Path, timeout: float, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """The forward, if this instance has it. One that hangs, ends, or is older than this question has none."""
    try:
        with Client(socket, _QUICK) as client:
            client.call("info")
        with Client(socket, timeout + _MARGIN) as client:
            found: dict[str, Any] | None = _asked(client, socket, timeout, {**wanted, "start": False})
        return found
    except NoAnswer:
        return None
    except Refused as refused:
        if refused.code in (ENDING, METHOD_NOT_FOUND):
            return None
        raise


def _asked(client: Client, socket: Path, timeout: float, wanted: Mapping[str, Any]) -> Any:
    try:
        found = client.call("portforward:ensure", **wanted, timeout=seconds(timeout))
    except Refused as refused:
        if refused.cause != Cause.CREDENTIALS:
            raise
        login = shlex.join(["kpfctl", "--socket", str(socket), "login"])
        then = f"It becomes active once you have signed in; then ask again. Signing in for this instance: {login}"
        raise Refused(f"{refused}\n{then}", refused.cause, refused.code) from None
    return None if found is None else found | {"socket": str(socket)}


def _wait_for_end(socket: Path, until: float) -> None:
    try:
        with Client(socket, _QUICK) as client:
            client.until_end(max(until - time.monotonic(), 0))
    except NoAnswer:
        return


def _begin(socket: Path, kubeconfigs: tuple[str, ...]) -> None:
    """Return once an instance serves this socket; of those that come at the same moment, one begins it. It has our
    environment. Raises NoAnswer, which says why it can't be."""
    try:
        make_private(runtime_folder())
        with _locked(socket.with_suffix(".lock")):
            try:
                with Client(socket, _QUICK):
                    return
            except Gone:
                log = log_of(socket.stem)
                begin("kpf_supervise.cli.background", [str(socket)], log, _environment(kubeconfigs), folder="/")
    except NotUp as ended:
        raise NoAnswer(f"no instance can be started in the background: {ended}".rstrip()) from None
    except OSError as error:
        raise NoAnswer(f"no instance can be started in the background: {error}") from None


def _environment(kubeconfigs: tuple[str, ...]) -> dict[str, str]:
    """Ours, with absolute paths."""
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    if kubeconfigs != paths_of(ANYWHERE, environment):
        environment["KUBECONFIG"] = os.pathsep.join(kubeconfigs)
    if os.sep in (kubectl := environment.get("KUBECTL", "")):
        environment["KUBECTL"] = os.path.abspath(kubectl)
    return environment


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock during the block. Its file exists only as long as somebody wants it; that of a killed process is
    removed by the next one."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            if os.stat(path).st_ino == os.fstat(fd).st_ino:
                break
        except FileNotFoundError:
            pass
        os.close(fd)  # whoever had it has removed the file
    try:
        yield
    finally:
        path.unlink()
        os.close(fd)
