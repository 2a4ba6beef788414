"""The socket at which our kubectls get their credentials, through `helper.py`."""

from __future__ import annotations

import itertools
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from kpf_supervise.model import ForwardError
from kpf_supervise.primitives.unix_peer import peer_uid
from kpf_supervise.sign_in import helper
from kpf_supervise.sign_in.credential import GROUP
from kpf_supervise.sign_in.flight import Given
from kpf_supervise.sign_in.share import Share

_NAME = "KPF_KUBECTL"  # the environment variable by which the helper knows which kubectl asks
_LONGEST = 1024 * 1024  # bytes of a question; it holds the cluster's certificate at most
_BACKLOG = 1024
_AT_ONCE = 5.0  # seconds in which a refusal follows; a credential that served longer was accepted at first


@dataclass(eq=False)
class Client:
    """One of our kubectls."""

    name: str
    share: Share
    given: Given | None = None  # what it was given last
    given_to: str = ""  # which program of it
    given_at: float = 0.0  # in trio's time
    refused_at: float = float("-inf")  # when it came back for another one before that had expired, in trio's time
    scopes: set[trio.CancelScope] = field(default_factory=set)  # of its questions


class CredentialServer:
    """Gives each kubectl that asks the credential that is its share, from memory."""

    def __init__(self) -> None:
        self.socket = Path()
        self._clients: dict[str, Client] = {}
        self._numbers = itertools.count(1)

    def command(self) -> list[str]:
        """The plugin that our kubectls run."""
        return [sys.executable, "-IS", helper.__file__, str(self.socket)]

    @contextmanager
    def client(self, share: Share) -> Iterator[tuple[Client, dict[str, str]]]:
        """Around the life of a kubectl: what is known of it, and its environment. Its questions end with it."""
        client = Client(str(next(self._numbers)), share)
        self._clients[client.name] = client
        try:
            yield client, {_NAME: client.name}
        finally:
            del self._clients[client.name]
            for scope in client.scopes:
                scope.cancel()

    async def run(
        self,
        folder: Path,
        bug: Callable[[BaseException], None],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Answer on a socket of mode 0600 in this private folder, until cancelled. Started once it listens; raises
        OSError before that."""
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            bound.bind(str(folder / "c"))
            os.chmod(folder / "c", 0o600)  # not by the umask: a child that starts meanwhile would inherit it
            bound.listen(_BACKLOG)
            listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
        except BaseException:
            bound.close()
            raise
        self.socket = folder / "c"

        async def attend(stream: trio.SocketStream) -> None:
            try:
                async with stream:
                    if peer_uid(stream.socket) == os.getuid():
                        await self._answer(stream)
            except* (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            except* Exception as bugs:
                bug(bugs)

        task_status.started()
        await trio.serve_listeners(attend, [listener])

    async def _answer(self, stream: trio.SocketStream) -> None:
        question = bytearray()
        while b"\n" not in question and len(question) <= _LONGEST:
            piece = await stream.receive_some()
            if not piece:
                return
            question += piece
        words = bytes(question).split(b"\n")[0].decode(errors="replace")
        name, asker, asked = (*words.split(" ", 2), "", "")[:3]
        client = self._clients.get(name)
        answer: bytes | None = b"-this kubectl is none of kpf-supervise's, or has ended"
        if client is not None:
            with trio.CancelScope() as scope:
                client.scopes.add(scope)
                try:
                    answer = await _given(client, asker, _version(asked), stream)
                finally:
                    client.scopes.discard(scope)
            answer = None if scope.cancelled_caught else answer
        if answer is not None:
            await stream.send_all(answer)


async def _given(client: Client, asker: str, version: str, stream: trio.SocketStream) -> bytes | None:
    """The answer for the helper, as soon as there is one; None if the helper has ended meanwhile."""
    answer = None
    came_back = _refused(client, asker)
    async with trio.open_nursery() as nursery:

        async def until_left() -> None:
            if not await stream.receive_some(1):
                nursery.cancel_scope.cancel()

        nursery.start_soon(until_left)
        try:
            client.given = await client.share.get()
            client.given_to, client.given_at = asker, trio.current_time()
            answer = b"+" + client.given.credential.document(version)
            if came_back:
                client.refused_at = trio.current_time()
        except ForwardError as trouble:
            answer = b"-" + trouble.problem.message.encode()
        nursery.cancel_scope.cancel()
    return answer


def _refused(client: Client, asker: str) -> bool:
    """Whether it comes back although what it was given has not expired: it was refused."""
    if client.given is None or client.given_to != asker or client.given.credential.ended(time.time()):
        return False
    if trio.current_time() > client.given_at + _AT_ONCE:
        client.share.accept(client.given.generation)
    client.share.refuse(client.given.generation)
    return True


def _version(asked: str) -> str:
    """The apiVersion in KUBERNETES_EXEC_INFO."""
    try:
        version = json.loads(asked)["apiVersion"]
    except (ValueError, TypeError, LookupError):
        version = ""
    return version if isinstance(version, str) and version.startswith(GROUP) else f"{GROUP}v1beta1"
