"""The domain model as plain values, and the table of states. Imports nothing from this project but
`text`, `origin` and `counters`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from kpf_supervise.counters import Counters
from kpf_supervise.origin import Origin
from kpf_supervise.text import one_line

TARGET_KINDS = ("pod", "service", "deployment", "statefulset", "daemonset", "replicaset")


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a forward: a Kubernetes object, or the pods that match a label selector."""

    kind: str  # one of TARGET_KINDS, or "selector"
    name: str  # the object's name, or the selector's text

    def __str__(self) -> str:
        return self.name if self.kind == "selector" else f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How a lost tunnel is retried. Times in seconds; `attempts` None means unlimited."""

    attempts: int | None = 3
    initial: float = 0.5
    max: float = 30.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster that kubectl talks to. None means kubectl's own default."""

    kubeconfig: Path | None = None
    context: str | None = None
    proxy: str = ""  # host:port of the proxy in use; known once the kubeconfig was read


ANYWHERE = Cluster()


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """One declared forward: one local port to one remote port of one target. Times in seconds."""

    id: str
    target: Target
    remote: int | str  # a number or a port's name
    local: int | None = None  # None: any free port
    prefers: int | None = field(default=None, compare=False)  # the free port that is tried first
    cluster: Cluster = field(default_factory=Cluster)
    namespace: str | None = None  # None: the context's namespace
    address: str = "localhost"  # "localhost" is 127.0.0.1 and ::1; otherwise one IP address
    hold: float = 30.0
    lazy: bool = False
    idle_timeout: float | None = None  # None: a lazy forward keeps its tunnel once it is open
    balance: bool = False  # over all ready pods of the target, with at most `children` tunnels
    children: int = 1  # number of tunnels that share the connections
    protocol: str = "auto"  # auto, spdy or websocket
    reconnect: Reconnect = field(default_factory=Reconnect)
    notify: str = "none"  # none, bell or desktop
    enabled: bool = True
    groups: tuple[str, ...] = ()  # names with which several forwards are meant
    alone: bool = False  # no other pod takes the place of the pod that is its target; it is waited for
    dormant: bool = False  # lazy, and nothing of it exists but its local port before the first connection
    proxied: bool = False  # clients come from the proxy, which listens on `address` and `local`


LONGEST_SOCKET = 100  # bytes in the control socket's path; macOS allows 103, Linux 107

# A forward with nothing but default values.
TEMPLATE = Forward(id="", target=Target("pod", ""), remote=0)


class State(StrEnum):
    """The state that the user sees. ACTIVE: kubectl reported that it forwards, and nothing since contradicts it."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    ACTIVE = "active"
    RECONNECTING = "reconnecting"
    IDLE = "idle"
    FAILED = "failed"
    STOPPED = "stopped"


class Trigger(StrEnum):
    """What can change a forward's state."""

    NO_POD = "the target has no ready pod"
    CONNECT = "a child is being started"
    READY = "the child forwards"
    SPREAD = "its connections go to more children, or to fewer"
    RESUMED = "the API server answers again, and the child that it had serves on"
    RETRY = "the child ended or could not start; it will be tried again"
    GIVE_UP = "no attempts are left, or none can help"
    QUIET = "a lazy forward without connections"
    STOP = "the user stopped it"


_ALWAYS = {
    Trigger.NO_POD: State.WAITING,
    Trigger.CONNECT: State.CONNECTING,
    Trigger.RETRY: State.RECONNECTING,
    Trigger.GIVE_UP: State.FAILED,
    Trigger.QUIET: State.IDLE,
    Trigger.STOP: State.STOPPED,
}

# state × trigger → state. A transition that is not in this table can't happen. A forward can become active only while a
# child is being started, or with one that was active.
TRANSITIONS: dict[State, dict[Trigger, State]] = {state: dict(_ALWAYS) for state in State}
TRANSITIONS[State.CONNECTING][Trigger.READY] = State.ACTIVE
for _state in (State.RECONNECTING, State.WAITING, State.CONNECTING):  # a sign-in may have been told meanwhile
    TRANSITIONS[_state][Trigger.RESUMED] = State.ACTIVE
TRANSITIONS[State.ACTIVE][Trigger.SPREAD] = State.ACTIVE


class Cause(StrEnum):
    """Why a forward is not active: a machine-readable word that accompanies the message for people."""

    NO_SUCH_OBJECT = "no-such-object"
    NO_SUCH_NAMESPACE = "no-such-namespace"
    NO_SUCH_CONTEXT = "no-such-context"
    NO_SUCH_PORT = "no-such-port"
    NO_SELECTOR = "no-selector"
    NO_READY_POD = "no-ready-pod"
    POD_NOT_RUNNING = "pod-not-running"
    POD_GONE = "pod-gone"
    REMOTE_REFUSED = "remote-refused"
    STREAM = "connection-broken"
    LOST = "lost-connection"
    STALLED = "stalled"
    TOO_SLOW = "start-timeout"
    API_UNREACHABLE = "api-unreachable"
    PROXY = "proxy"
    TLS = "tls"
    UNAUTHORIZED = "unauthorized"
    CREDENTIALS = "credential-plugin"
    FORBIDDEN = "forbidden"
    UPGRADE_REFUSED = "upgrade-refused"
    LOCAL_PORT = "local-port"
    KUBECTL = "kubectl"
    INTERNAL = "internal"
    OTHER = "other"


# Another attempt would only get the same answer. The forward fails at once and stays failed until something changes.
FINAL = frozenset(
    {
        Cause.NO_SUCH_OBJECT,
        Cause.NO_SUCH_NAMESPACE,
        Cause.NO_SUCH_CONTEXT,
        Cause.NO_SUCH_PORT,
        Cause.NO_SELECTOR,
        Cause.UNAUTHORIZED,
        Cause.CREDENTIALS,
        Cause.FORBIDDEN,
        Cause.LOCAL_PORT,
        Cause.KUBECTL,
    }
)


# No answer, or an answer that is not from the API server (a captive portal has another certificate). One retry loop
# serves all forwards, without using up their attempts.
OUTAGE = frozenset({Cause.API_UNREACHABLE, Cause.TOO_SLOW, Cause.PROXY, Cause.TLS})

# The user has to log in. One retry loop serves all forwards, with long delays: a plugin may open a browser each time.
LOGIN = frozenset({Cause.UNAUTHORIZED, Cause.CREDENTIALS})


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, for the user, and the next step to take (may be empty). Each is always reduced to one line of
    printable text."""

    cause: Cause
    message: str
    next_step: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", one_line(self.message))
        object.__setattr__(self, "next_step", one_line(self.next_step))

    def __str__(self) -> str:
        return f"{self.message}. {self.next_step}" if self.next_step else self.message


class ForwardError(Exception):
    """Carries a Problem up to the code that decides about another attempt."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


# Event kinds in addition to the names of the states.
MOVED = "moved"  # the forward is now active on another pod, or through another kubectl
NOTICE = "notice"  # concerns the whole instance
KUBECTL = "kubectl"  # a line of output from the forward's kubectl
ADDED = "added"  # the forward is now listed
REMOVED = "removed"  # the forward is no longer listed
UNPRINTED = frozenset({KUBECTL, ADDED, REMOVED})  # sent only to subscribers


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change of one forward, or (`forward` None) one notice about the whole instance. The message is always reduced
    to one line of printable text."""

    time: float  # seconds since the epoch
    forward: str | None
    kind: str  # a State's value, or one of the above
    message: str
    state: State | None = None
    cause: Cause | None = None
    pod: str | None = None
    port: int | None = None  # the local port
    attempt: int | None = None
    attempts: int | None = None
    delay: float | None = None  # seconds until the attempt
    printed: bool = True  # False: sent only to subscribers
    traceback: tuple[str, ...] = ()  # of a bug, on its first occurrence only; cleaned lines

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", one_line(self.message))


@dataclass(slots=True)
class Connection:
    """One open connection of a client to a local port."""

    peer: str  # its address
    since: float  # seconds since the epoch
    held: bool = True
    bytes_in: int = 0
    bytes_out: int = 0


LOG = 200  # events kept per forward


@dataclass(slots=True, kw_only=True)
class Status:
    """The current status of one forward. The board owns it; the forward updates its counters."""

    forward: Forward
    origin: Origin = Origin.FILE
    state: State = State.STOPPED
    since: float = 0.0  # seconds since the epoch
    port: int | None = None  # the bound local port
    context: str | None = None  # known once the kubeconfig was read
    namespace: str | None = None
    remote: int | None = None  # the port in the pod, once known
    pods: tuple[str, ...] = ()  # that connections go to: several with `balance`
    problem: Problem | None = None
    attempt: int | None = None  # number of the attempt due at `retry_at`, out of `attempts`
    attempts: int | None = None
    retry_at: float | None = None  # seconds since the epoch
    command: str | None = None  # of the last child, quoted for a shell
    connections: int = 0
    held: int = 0
    bytes_in: int = 0  # from the client to the pod
    bytes_out: int = 0  # from the pod to the client
    counters: Counters = field(default_factory=Counters)
    open: list[Connection] = field(default_factory=list)  # oldest first
    left: Callable[[], None] = lambda: None  # called when the last open connection has ended
    lease: float | None = None  # seconds since the epoch at which it is stopped; None: it is kept without a lease
    log: deque[Event] = field(default_factory=lambda: deque(maxlen=LOG))  # events and kubectl's lines, oldest first

    @property
    def pod(self) -> str | None:
        """The one whose tunnel was ready last."""
        return self.pods[-1] if self.pods else None

    @property
    def restarts(self) -> int:
        """Tunnels lost or retired so far."""
        return sum(self.counters.losses.values())

    @property
    def declared(self) -> bool:
        """Whether it stays listed when the user stops it. False: it was started over the control socket."""
        return self.origin is not Origin.KPFCTL

    @property
    def hopeless(self) -> bool:
        """Whether the forward has failed and will not recover by itself."""
        return self.state is State.FAILED and self.problem is not None and self.problem.cause in FINAL
