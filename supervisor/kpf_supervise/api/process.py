"""One `kubectl proxy` that serves the API server on a Unix socket, and lets through only what we ask."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import trio

from kpf_supervise.api.connection import Answer, Cut, get
from kpf_supervise.api.errors import CONNECTION_LOST
from kpf_supervise.kubectl.causes import explain
from kpf_supervise.kubectl.command_line import command, to_go_on
from kpf_supervise.kubectl.contexts import Marks
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.kubectl.process import lines, read_to_end, running
from kpf_supervise.model import Cause, Cluster, ForwardError, Problem
from kpf_supervise.primitives.signal import Signal
from kpf_supervise.sign_in.kubectl import Kubectl
from kpf_supervise.sign_in.login import Login
from kpf_supervise.sign_in.logins import SocketFolder

# What the socket gives to whoever can open it: reading what we read, and nothing else.
_ACCEPTED = ",".join(
    (
        "^/version$",
        "^/api/v1/namespaces(/[^/]+)?$",
        "^/api/v1/namespaces/[^/]+/(pods|services)(/[^/]+)?$",
        "^/apis/apps/v1/namespaces/[^/]+/(deployments|statefulsets|daemonsets|replicasets)(/[^/]+)?$",
    )
)
READING = (f"--accept-paths={_ACCEPTED}", "--reject-methods=^(POST|PUT|PATCH|DELETE)$")
# Asking what one may do is a POST, and kubectl filters methods and paths apart: so this is a process of its own, which
# lets through nothing else.
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
ASKING_RIGHTS = (f"--accept-paths=^/version$,^{REVIEWS}$", "--reject-methods=^(PUT|PATCH|DELETE)$")
_SERVING = b"Starting to serve on"
_FAILED = "Error while proxying request"
_LAST_WORDS = 0.5  # seconds: what a credential plugin wrote arrives about as soon as the answer to the request


class ApiProcess:
    """`socket` is served once `run` has started, until `ended`."""

    def __init__(
        self, cluster: Cluster, marks: Marks, generation: int, login: Login, lets_through: Sequence[str] = READING
    ) -> None:
        self.socket = Path()
        self.marks = marks  # of the kubeconfig that it reads when it starts
        self.generation = generation
        self.scope = trio.CancelScope()
        self.begun = trio.current_time()
        self.connected = False  # the API server has answered something, if only that it refuses
        self.proven = False  # the API server has answered through it
        self.died = False  # its connection to the API server has died
        self.heard = self.begun  # when the last byte of the API server came
        self.asked = Signal()
        self._unanswered: dict[trio.CancelScope, float] = {}  # questions by their scopes: since when, oldest first
        self.ended = trio.Event()
        self._pid = 0
        self.kubectl = Kubectl(cluster)
        self._cluster = cluster
        self._login = login
        self._lets_through = lets_through
        self._said: deque[tuple[float, str]] = deque(maxlen=40)  # the last lines of stderr with their times
        self._heard = Signal()

    async def run(
        self,
        binary: str,
        guard: OrphanGuard,
        folder: SocketFolder,
        lost: Callable[[str], None],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run kubectl until it ends or `scope` is cancelled. If it ends by itself after the start, `lost` gets the
        reason. Started once it serves; raises ForwardError before that, and nothing after it."""
        serving, code = False, None

        async def read_stdout(stream: trio.abc.ReceiveStream) -> None:
            nonlocal serving
            async for line in lines(stream):
                if not serving and line.startswith(_SERVING):
                    serving = True
                    task_status.started()

        try:
            with self.scope, _opened(folder, self._login, self._cluster) as (place, self.kubectl):
                self.socket = place / "s"
                options = (*self._lets_through, f"--unix-socket={self.socket}")
                words = command(binary, self.kubectl.cluster, "proxy", *options)
                environment = {**to_go_on(os.environ), **self.kubectl.environment}
                async with (
                    running(words, guard, environment, self.kubectl.signs_in) as process,
                    trio.open_nursery() as nursery,
                ):
                    assert process.stdout is not None
                    assert process.stderr is not None
                    self._pid = process.pid
                    nursery.start_soon(read_stdout, process.stdout)
                    nursery.start_soon(self._read_stderr, process.stderr)
                    code = await process.wait()
                    self.ended.set()
                    if serving:
                        lost(f"was killed by signal {-code}" if code < 0 else f"has ended (exit code {code})")
                    await read_to_end(process, nursery)
        finally:
            self.ended.set()
        if code is not None and not serving:
            raise ForwardError(explain([text for _, text in self._said], code, self._cluster))

    @asynccontextmanager
    async def get(self, path: str, posted: bytes = b"") -> AsyncIterator[Answer]:
        """Ask for `path`, and yield the answer once its head is there. Raises Gone, Cut, also if `interrupt` is called
        before, or ForwardError: see `connection.get`."""
        async with AsyncExitStack() as stack:
            with self.unanswered():
                answer = await stack.enter_async_context(get(self.socket, path, self._hear, posted))
            yield answer

    def _hear(self) -> None:
        self.heard = trio.current_time()

    @contextmanager
    def unanswered(self) -> Iterator[None]:
        """Around the block, the rest of an answer is awaited. Raises Cut if `interrupt` is called meanwhile."""
        with trio.CancelScope() as scope:
            self._unanswered[scope] = trio.current_time()
            self.asked.tell()
            try:
                yield
            finally:
                del self._unanswered[scope]
        if scope.cancelled_caught:
            raise Cut

    @property
    def unanswered_since(self) -> float | None:
        """When the oldest question was put to it that has no answer yet."""
        return next(iter(self._unanswered.values()), None)

    def interrupt(self) -> None:
        """Its connection is dead: nobody needs to wait for its answers."""
        self.died = True
        for scope in self._unanswered:
            scope.cancel()

    def signs_in(self) -> bool:
        """Whether somebody signs in: our sign-in, or a credential plugin of its own. kubectl has no other child."""
        if self._login.shared:
            return bool(self._login.signing_in)
        import psutil  # slow to import and rarely needed

        try:
            return bool(psutil.Process(self._pid).children())
        except psutil.Error:  # it has ended
            return False

    async def _read_stderr(self, stream: trio.abc.ReceiveStream) -> None:
        async for line in lines(stream):
            text = line.decode(errors="replace")
            self._said.append((trio.current_time(), text))
            self.died = self.died or CONNECTION_LOST in text
            self._heard.tell()

    async def words_since(self, begun: float) -> list[str]:
        """What it and a credential plugin wrote to stderr about a request that began then, and has just failed.
        Requests that were made at the same time share them: each has run the same plugin."""

        def said() -> list[str]:
            return [text for time, text in self._said if time >= begun]

        with trio.move_on_after(_LAST_WORDS):
            await self._heard.until(lambda: any(_FAILED in text for text in said()))
        return said()


@contextmanager
def _opened(folder: SocketFolder, login: Login, cluster: Cluster) -> Iterator[tuple[Path, Kubectl]]:
    with ExitStack() as stack:
        try:
            place = stack.enter_context(folder()), stack.enter_context(login.kubectl(cluster))
        except OSError as error:
            step = "Make that folder writable, or set XDG_RUNTIME_DIR to a folder of yours"
            raise ForwardError(Problem(Cause.OTHER, f"kubectl can't get a socket: {error}", step)) from error
        yield place
