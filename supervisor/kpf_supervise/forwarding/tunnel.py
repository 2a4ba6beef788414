"""One `kubectl port-forward` process, and what it says about itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import trio

from kpf_supervise.decision.tunnel_states import Check, Endpoint, Patience, TunnelRecord
from kpf_supervise.kubectl.causes import explain
from kpf_supervise.kubectl.orphan_guard import OrphanGuard
from kpf_supervise.kubectl.output import Line, Said, read_line
from kpf_supervise.kubectl.process import lines, read_to_end, running
from kpf_supervise.model import ANYWHERE, Cause, Cluster, Problem
from kpf_supervise.sign_in.kubectl import Kubectl
from kpf_supervise.sign_in.login import Login

START_TIMEOUT = 15.0  # seconds; kubectl waits forever for the answer to its upgrade request
_SIGN_IN = 600.0  # seconds; the same where kubectl itself signs in, which takes as long as its user
SETTLE = 0.2  # seconds to wait until kubectl says why it closed a connection without a byte
_PROOF = 1.0  # seconds of silence that prove that a pod accepts connections again after it refused
_LAST_WORDS = 2.0  # seconds; what kubectl said longer before its end is not the cause
_CHECK = 40.0  # seconds; kubectl waits 30 for an answer

_NO_MESSAGES = (Said.HANDLING, Said.REQUEST, Said.DETAIL)
_SUSPICIOUS = (Said.UNREACHED, Said.POD_GONE, Said.STALLED, Said.LOST)


class Tunnel(TunnelRecord):
    """A kubectl that forwards 127.0.0.1:`port` to a pod. `changed` is called at each observation that a decision may
    depend on, `log` with each line that kubectl writes, except the line for every connection."""

    def __init__(
        self,
        endpoint: Endpoint,
        changed: Callable[[], None],
        log: Callable[[str], None],
        *,
        cluster: Cluster = ANYWHERE,
        renewed: int = 0,
        prove: bool = False,
        early: bool = False,
        patience: Patience | None = None,
        login: Login | None = None,
    ) -> None:
        super().__init__(
            endpoint=endpoint,
            renewed=renewed,
            prove=prove,
            early=early,
            patience=patience or Patience(),
            started=trio.current_time(),
        )
        self.port = 0
        self.begun = trio.Event()  # it forwards, or ended before that
        self.scope = trio.CancelScope()
        self.kubectl: Kubectl | None = None
        self._cluster = cluster
        self._login = login or Login(cluster)
        self._limit = _SIGN_IN if self._login.by_kubectl else START_TIMEOUT  # seconds
        self._said: deque[tuple[float, str]] = deque(maxlen=40)  # stderr lines with their times
        self._signal = trio.Event()  # replaced at each observation
        self._changed = changed
        self._log = log

    def fails(self, problem: Problem) -> None:
        """It can't be started."""
        self.exited = problem
        self.begun.set()
        self.tell()

    async def run(self, command: Sequence[str], guard: OrphanGuard, environment: Mapping[str, str]) -> None:
        """Run kubectl until it ends or is cancelled; `exited` is set then. `ready` is set when kubectl says
        that it forwards: it is connected to the cluster then, but has not dialled the port in the pod yet. With
        `prove`, a test connection is made first. Raises nothing of the network or the process."""
        self.started = trio.current_time()
        code = None
        try:
            with self._login.limit(self._limit) as limit:
                signs_in = self.kubectl is not None and self.kubectl.signs_in
                async with running(command, guard, environment, signs_in) as process, trio.open_nursery() as nursery:
                    assert process.stdout is not None
                    assert process.stderr is not None

                    def heard(line: Line) -> None:
                        self._hear(line)
                        if line.said is Said.READY and not self.port:
                            self.port = line.port
                            limit.lift()
                            self.begun.set()
                            nursery.start_soon(self._serve)

                    async def read_stdout(stream: trio.abc.ReceiveStream) -> None:
                        async for raw in lines(stream):
                            heard(read_line(raw.decode(errors="replace")))

                    async def read_stderr(stream: trio.abc.ReceiveStream) -> None:
                        dumps = quotes = False
                        async for raw in lines(stream):
                            if quotes:  # an answer of the API server, over several lines
                                quotes = raw != b"}]"
                                continue
                            line = read_line(raw.decode(errors="replace"))
                            quotes = line.said is Said.DETAIL and line.text.endswith("[{")
                            dumps = dumps or line.said is Said.DUMP
                            if dumps:  # to the end
                                continue
                            if line.said not in _NO_MESSAGES:
                                self._said.append((trio.current_time(), line.text))
                            heard(line)

                    nursery.start_soon(read_stdout, process.stdout)
                    nursery.start_soon(read_stderr, process.stderr)
                    code = await read_to_end(process, nursery)
        finally:
            self.exited = self._why(code, limit.scope.cancelled_caught)
            self.begun.set()
            self.tell()

    def _hear(self, line: Line) -> None:
        if line.said not in _NO_MESSAGES:
            self._log(line.text)
        if line.said is Said.REQUEST and self.early:
            self.went_to = line.pod
            self.tell()
        if line.said is Said.HANDLING:
            self.handled += 1
        elif line.said in _SUSPICIOUS and self.said is None:
            self.unreached = line.said in (Said.UNREACHED, Said.POD_GONE)
            self.said, self.said_at = explain([line.text], None), trio.current_time()
            self.tell()
        if line.said is Said.STALLED:
            self.stalls += 1
            self.tell()

    async def _serve(self) -> None:
        """Kubectl forwards. A pod that refused connections before is first tried by a connection of our own."""
        if self.prove:
            await self._try()
        if self.kubectl is not None:
            self.kubectl.accepted()
        if self.said is None:
            self.ready = trio.current_time()
            self.tell()

    async def _try(self) -> None:
        try:
            with trio.move_on_after(_PROOF):
                self.opened += 1
                async with await trio.open_tcp_stream("127.0.0.1", self.port) as probe:
                    if await probe.receive_some(1) == b"":
                        await self.wait_for_fault(SETTLE)
        except (OSError, trio.BrokenResourceError):
            await self.wait_for_fault(SETTLE)

    def _why(self, code: int | None, too_slow: bool) -> Problem:
        if too_slow:
            return Problem(Cause.TOO_SLOW, f"kubectl did not get through to {self.endpoint.label} in {self._limit:g} s")
        recent = trio.current_time() - _LAST_WORDS
        said = [text for time, text in self._said if time >= recent or not self.port]
        problem = explain(said, code, self._cluster)
        return self.kubectl.reword(problem) if self.kubectl is not None else problem

    def tell(self) -> None:
        """Something was observed."""
        self._signal.set()
        self._signal = trio.Event()
        self._changed()

    async def find_out(self) -> None:
        """Set `check`: whether the tunnel still answers. Kubectl says that it does not 30 s after a new connection that
        got no answer. If the tunnel works, that connection reaches the pod and is closed without a byte."""
        stalls = self.stalls

        def known() -> bool:
            return self.stalls > stalls or self.exited is not None

        answered = False
        self.opened += 1
        try:
            with trio.move_on_after(_CHECK):
                async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
                    answered = bool(await stream.receive_some(1))
        except (OSError, trio.BrokenResourceError):
            pass
        if not answered:
            await self._until(known, _LAST_WORDS)
        self.check = Check.DEAD if known() else Check.ALIVE
        self.tell()

    async def wait_for_fault(self, patience: float) -> None:
        """Wait until it has a fault, at most `patience` seconds: its message may come after the failure."""
        await self._until(lambda: self.fault is not None, patience)

    async def _until(self, true: Callable[[], bool], patience: float) -> None:
        with trio.move_on_after(patience):
            while not true():
                await self._signal.wait()
