"""One `kubectl port-forward` process, and what it says about itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import trio

from kpf_supervise.discovery.pods import Pod
from kpf_supervise.kubectl.causes import explain
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.kubectl.output import Line, Said, read_line
from kpf_supervise.kubectl.process import lines, read_to_end, running
from kpf_supervise.model import ANYWHERE, Cause, Cluster, ForwardError, Problem

START_TIMEOUT = 15.0  # seconds; kubectl waits forever for the answer to its upgrade request
_LAST_WORDS = 2.0  # seconds; what kubectl said longer before its end is not the cause
_CHECK = 40.0  # seconds; kubectl waits 30 for an answer

_SUSPICIOUS = (Said.UNREACHED, Said.POD_GONE, Said.STALLED, Said.LOST)


class Patience:
    """How long a new connection of one forward may go without an answer before its tunnel is suspect."""

    def __init__(self) -> None:
        self.limit = 5.0  # seconds
        self.answered = False  # at least once, so a missing answer means something

    def was_too_short(self) -> None:
        """The answer came after all: this server is slow. After three times, only kubectl's own message counts, which
        comes after 30 s."""
        self.limit = self.limit * 2 if self.limit < 20 else float("inf")


class Tunnel:
    """A kubectl that forwards 127.0.0.1:`port` to a pod. `label` names the pod, even if no `pod` is known. `changed` is
    called at each signal, `log` with each line that kubectl writes, except the line for every connection."""

    def __init__(
        self,
        label: str,
        changed: Callable[[], None],
        log: Callable[[str], None],
        *,
        cluster: Cluster = ANYWHERE,
        pod: Pod | None = None,
        wedges: bool = False,
        patience: Patience | None = None,
    ) -> None:
        self.label = label
        self.pod = pod
        self._cluster = cluster
        self.wedges = wedges  # a client that aborts a download may stop it for good (kubectl before 1.32)
        self.patience = patience or Patience()
        self.port = 0
        self.since = trio.current_time()  # when it became ready; before that, when it was started
        self.took = 0.0  # seconds from its start until it was ready
        self.opened = 0  # connections that we made to it, in order
        self.handled = 0  # connections that it says it took: always the oldest of those opened
        self.connections = 0  # open now
        self.proven = False  # a byte came back from the pod
        self.heard = 0.0  # when the last byte came
        self.unreached = False  # it said that the pod could not be dialled, or is gone
        self.suspicion: Problem | None = None  # it runs, but said that it no longer forwards
        self.problem: Problem | None = None  # why it ended; None while it runs
        self.stalls = 0  # how often it said that its connection gave no answer
        self.retiring = ""  # why new connections should get a fresh tunnel, although this one works
        self.suspect = False  # its connection may be dead
        self.blocked: dict[int, float] = {}  # by connection: since when it has waited for its client to read
        self._said: deque[tuple[float, str]] = deque(maxlen=40)  # stderr lines with their times
        self._signal = trio.Event()  # replaced at each change of the state above
        self.begun = trio.Event()  # it is ready, or ended before that
        self.scope = trio.CancelScope()
        self._changed = changed
        self._log = log

    async def run(
        self,
        command: Sequence[str],
        guard: OrphanGuard,
        environment: Mapping[str, str],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Started when kubectl says that it forwards: it is connected to the cluster then, but has not dialled the port
        in the pod yet. Raises ForwardError if kubectl ends or says nothing before that. Afterwards, returns when the
        process has ended, by itself or because `scope` was cancelled; `problem` is set then."""
        deadline = trio.CancelScope(deadline=trio.current_time() + START_TIMEOUT)

        def heard(line: Line) -> None:
            if line.said is not Said.HANDLING:
                self._log(line.text)
            if line.said is Said.READY and not self.port:
                self.port = line.port
                deadline.deadline = float("inf")
                self.took = trio.current_time() - self.since
                self.since = trio.current_time()
                self.begun.set()
                task_status.started()
            elif line.said is Said.HANDLING:
                self.handled += 1
            elif line.said in _SUSPICIOUS and self.suspicion is None:
                self.unreached = line.said in (Said.UNREACHED, Said.POD_GONE)
                self.suspicion = explain([line.text], None)
                self._tell()
            if line.said is Said.STALLED:
                self.stalls += 1
                self.suspect = True
                self._tell()

        async def read_stdout(stream: trio.abc.ReceiveStream) -> None:
            async for raw in lines(stream):
                heard(read_line(raw.decode(errors="replace")))

        async def read_stderr(stream: trio.abc.ReceiveStream) -> None:
            async for raw in lines(stream):
                line = read_line(raw.decode(errors="replace"))
                self._said.append((trio.current_time(), line.text))
                heard(line)

        code = None
        try:
            with self.scope, deadline:
                async with running(command, guard, environment) as process, trio.open_nursery() as readers:
                    assert process.stdout is not None
                    assert process.stderr is not None
                    readers.start_soon(read_stdout, process.stdout)
                    readers.start_soon(read_stderr, process.stderr)
                    code = await read_to_end(process, readers)
        finally:
            self.problem = self._why(code, deadline.cancelled_caught)
            self.begun.set()
            self._tell()
        if not self.port:
            raise ForwardError(self.problem)

    def _why(self, code: int | None, too_slow: bool) -> Problem:
        if too_slow:
            return Problem(Cause.TOO_SLOW, f"kubectl did not get through to {self.label} in {START_TIMEOUT:g} s")
        recent = trio.current_time() - _LAST_WORDS
        return explain([text for time, text in self._said if time >= recent or not self.port], code, self._cluster)

    def _tell(self) -> None:
        self._signal.set()
        self._signal = trio.Event()
        self._changed()

    def retire(self, reason: str, suspect: bool = False) -> None:
        """Keep its connections, but give it no new ones. `suspect`: they may be dead."""
        self.retiring = self.retiring or reason
        self.suspect = self.suspect or suspect
        self._tell()

    async def is_dead(self) -> bool:
        """Whether the tunnel no longer answers: kubectl says so 30 s after a new connection that got no answer. If the
        tunnel works, that connection reaches the pod and is closed without a byte."""
        stalls = self.stalls

        def known() -> bool:
            return self.stalls > stalls or self.problem is not None

        self.opened += 1
        try:
            with trio.move_on_after(_CHECK):
                async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
                    if await stream.receive_some(1):
                        return False
        except (OSError, trio.BrokenResourceError):
            pass
        await self._until(known, _LAST_WORDS)
        return known()

    @property
    def stalled(self) -> float:
        """Seconds for which a client has read nothing. All connections of its kubectl wait meanwhile, in every version:
        the tunnel has no flow control of its own."""
        return trio.current_time() - min(self.blocked.values()) if self.blocked else 0.0

    @property
    def fault(self) -> Problem | None:
        """Why it can no longer be used, or None."""
        return self.problem or self.suspicion

    @property
    def accepts(self) -> bool:
        """Whether it takes new connections."""
        return self.fault is None and not self.retiring

    async def wait_for_fault(self, patience: float) -> None:
        """Wait until it has a fault, at most `patience` seconds: its message may come after the failure."""
        await self._until(lambda: self.fault is not None, patience)

    async def ended_within(self, patience: float) -> None:
        """Wait until it has ended, at most `patience` seconds."""
        await self._until(lambda: self.problem is not None, patience)

    async def _until(self, true: Callable[[], bool], patience: float) -> None:
        with trio.move_on_after(patience):
            while not true():
                await self._signal.wait()
