"""The client of the control socket: finds the running instance and calls it. It uses no trio, so that kpfctl starts
quickly."""

from __future__ import annotations

import os
import shlex
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kpf_supervise.control import jsonrpc
from kpf_supervise.control.unix_socket import check_owner
from kpf_supervise.runtime.background import in_background
from kpf_supervise.runtime.paths import distrust, runtime_folder, socket_of

TIMEOUT = 10.0  # seconds to wait for an instance's answer
_SHOWN = 3  # targets of an instance that are named


class NoAnswer(Exception):
    """No instance was found, or it does not answer. The message says what to do."""


class Gone(NoAnswer):
    """Nobody serves the socket, or the instance has ended before it has answered."""


class Refused(Exception):
    """The instance answered with an error; the text is its message. `cause` is that of a failure, if it has one; `code`
    is that of the protocol."""

    def __init__(self, message: str, cause: str = "", code: int = 0) -> None:
        super().__init__(message)
        self.cause = cause
        self.code = code


class Client:
    """A connection to this user's instance at `path`. Raises NoAnswer, also if it belongs to another user."""

    def __init__(self, path: Path, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        self._buffer = b""
        self._events: list[dict[str, Any]] = []  # received before an answer
        self._calls = 0
        try:
            self._socket.connect(str(path))
            check_owner(self._socket)
        except OSError as error:
            self._socket.close()
            gone = isinstance(error, FileNotFoundError | ConnectionRefusedError)
            reason = "no instance serves it. Start one with: kpf-supervise CONFIG" if gone else error.strerror or error
            raise (Gone if gone else NoAnswer)(f"{path}: {reason}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.close()

    def call(self, method: str, **params: Any) -> Any:
        """The result of a method. Raises Refused with the instance's message, or NoAnswer."""
        self._calls += 1
        given = {name: value for name, value in params.items() if value is not None}
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(jsonrpc.encode(jsonrpc.call(method, given, self._calls)))
        except OSError:
            raise Gone("the instance has ended") from None
        while (answer := self._message(self._timeout)) is not None:
            if "method" in answer:
                self._events.append(answer["params"])
            elif "error" in answer:
                error, facts = answer["error"], answer["error"].get("data")
                cause = facts.get("cause", "") if isinstance(facts, dict) else ""
                raise Refused(error["message"], cause, error["code"])
            else:
                return answer["result"]
        raise Gone("the instance has ended")

    def events(self, until: float = float("inf")) -> Iterator[dict[str, Any]]:
        """The events after a call of `subscribe`, until the instance ends or the monotonic clock reaches `until`."""
        while self._events:
            yield self._events.pop(0)
        while (left := until - time.monotonic()) > 0:
            try:
                message = self._message(left)
            except NoAnswer:
                return
            if message is None:
                return
            yield message["params"]

    def until_end(self, timeout: float) -> bool:
        """Whether the instance closes the connection within `timeout` seconds."""
        try:
            while self._message(timeout) is not None:
                pass
        except NoAnswer:
            return False
        return True

    def _message(self, timeout: float) -> dict[str, Any] | None:
        """The next message; None at the end of the connection."""
        self._socket.settimeout(None if timeout == float("inf") else timeout)
        while b"\n" not in self._buffer:
            try:
                data = self._socket.recv(256 * 1024)
            except TimeoutError:
                raise NoAnswer(f"the instance does not answer within {timeout:g} s") from None
            except OSError:
                data = b""
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return jsonrpc.answer(line)


def find(given: Path | None, config: Path | None) -> Path:
    """The socket to use: the given one, the configuration's, $KPF_SOCKET, or that of the only running instance. Raises
    NoAnswer."""
    if given is None and config is None and os.environ.get("KPF_SOCKET"):
        given = Path(os.environ["KPF_SOCKET"])
    if given is not None:
        return given
    if config is not None:
        path = socket_of(config)
        wrong = distrust(path.parent)
        if (wrong or not path.exists()) and (said := _said_in(config)) is not None:
            path, wrong = said, ""
        if wrong:
            raise NoAnswer(wrong)
        if not path.exists():
            raise NoAnswer(f"no instance of {config} runs. Start one with: kpf-supervise {config}")
        return path
    found = running()
    if len(found) > 1:  # the user means his own
        found = [path for path in found if not in_background(path)] or found
    if not found:
        raise NoAnswer("no instance runs. Start one with: kpf-supervise CONFIG, in another terminal or with --detach")
    if len(found) > 1:
        raise NoAnswer("\n".join([f"{len(found)} instances run. Name one:", *map(_named, found)]))
    return found[0]


def running() -> list[Path]:
    """The sockets of this user's running instances, those at paths of their own (--socket) excepted. Raises
    NoAnswer if another user may have put them there."""
    if wrong := distrust(runtime_folder()):
        raise NoAnswer(wrong)
    return [path for path in sorted(runtime_folder().glob("*.sock")) if _answers(path)]


def _said_in(config: Path) -> Path | None:
    """The socket that the file itself names; None if it names none or can't be opened. Raises NoAnswer if it is wrong,
    which it may be only here: a variable is set for the instance."""
    from kpf_supervise.config.errors import ConfigError
    from kpf_supervise.loading.loader import load

    try:
        return load(config).socket
    except ConfigError as error:
        first = error.problems[0]
        if not first.line:
            return None
        raise NoAnswer(
            f"no instance at the usual socket, and the one that the file names is unknown: {first}"
        ) from None


def _answers(path: Path) -> bool:
    """Whether an instance of this user serves the socket at `path`."""
    try:
        with Client(path, timeout=1):
            return True
    except NoAnswer:
        return False


def _named(path: Path) -> str:
    """The kpfctl command line that names the instance at `path`, quoted for a shell, with its pid and its file."""
    by_socket = f"  kpfctl --socket {shlex.quote(str(path))} …"
    try:
        with Client(path, timeout=1) as client:
            info, forwards = client.call("info"), client.call("portforward:list")
    except (NoAnswer, Refused):
        return f"{by_socket}  (does not answer)"
    config = info["config"]
    by_file = config is not None and socket_of(Path(config)) == path
    words = f"  kpfctl -f {shlex.quote(config)} …" if by_file else by_socket
    return f"{words}  (pid {info['pid']}, {about(info, forwards)})"


def about(info: dict[str, Any], forwards: Iterable[dict[str, Any]]) -> str:
    """The file of an instance; without one, what it forwards, as on its command line."""
    if info["config"] is not None:
        return str(info["config"])
    ports: dict[str, list[str]] = {}
    for each in forwards:
        if not each["proxied"]:
            target = f"-l {each['target']}" if each["resourceType"] == "selector" else each["target"]
            ports.setdefault(target, []).append(f"{each['localPort'] or ''}:{each['remote']}")
    words = [" ".join([target, *of_target]) for target, of_target in ports.items()]
    if len(words) > _SHOWN:
        words[_SHOWN:] = [f"and {len(words) - _SHOWN} more"]
    if proxy := info["proxy"]:
        words.append(f"--proxy {proxy['port']}")
    return ", ".join(words) or "without a file"
