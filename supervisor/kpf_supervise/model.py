"""The words of the product as plain values, and the table of states. Of our own, only the cleaning of foreign text is
imported."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from kpf_supervise.text import one_line

TARGET_KINDS = ("pod", "service", "deployment", "statefulset", "daemonset", "replicaset")


@dataclass(frozen=True, slots=True)
class Target:
    """What a forward leads to: an object of Kubernetes, or the pods that a label selector picks."""

    kind: str  # one of TARGET_KINDS, or "selector"
    name: str  # the object's name, or the selector's text

    def __str__(self) -> str:
        return self.name if self.kind == "selector" else f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How a lost child is tried again. Times in seconds; `attempts` None is unlimited."""

    attempts: int | None = 3
    initial: float = 0.5
    max: float = 30.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """Whom kubectl talks to; None is kubectl's own default."""

    kubeconfig: Path | None = None
    context: str | None = None
    proxy: str = ""  # host:port of the one that is on the way, once the kubeconfig was read


ANYWHERE = Cluster()


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """One declared forward: one local port to one remote port of one target. Times in seconds."""

    id: str
    target: Target
    remote: int | str  # a number or a port's name
    local: int | None = None  # None: any free port
    cluster: Cluster = field(default_factory=Cluster)
    namespace: str | None = None  # None: the context's
    address: str = "localhost"  # "localhost" is 127.0.0.1 and ::1; otherwise one IP address
    hold: float = 30.0
    lazy: bool = False
    idle_timeout: float | None = None  # None: a lazy child is kept once started
    children: int = 1  # how many kubectls share its connections
    protocol: str = "auto"  # auto, spdy or websocket
    reconnect: Reconnect = field(default_factory=Reconnect)
    notify: str = "none"  # none, bell or desktop
    enabled: bool = True


LONGEST_SOCKET = 100  # bytes of the control socket's path; macOS takes 103, Linux 107

# What a forward is that says nothing of itself.
TEMPLATE = Forward(id="", target=Target("pod", ""), remote=0)


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file, defaults applied."""

    forwards: tuple[Forward, ...]
    template: Forward = TEMPLATE  # with the file's defaults: for forwards that are started beside it
    kubectl: str | None = None  # a name on PATH or a path; None: not said
    socket: Path | None = None  # None: not said
    persist: bool = False
    # the file that it was read from: device, inode, time of change, size; None: a pipe, or no file
    mark: tuple[int, int, int, int] | None = field(default=None, compare=False)


class State(StrEnum):
    """What a user may rely on. ACTIVE: kubectl said that it forwards, and nothing since then says otherwise."""

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
    THINNED = "one of several children is no longer used"
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

# state × trigger → state: whatever is not in this table can't happen. Only a child that was being started can
# make a forward active.
TRANSITIONS: dict[State, dict[Trigger, State]] = {state: dict(_ALWAYS) for state in State}
TRANSITIONS[State.CONNECTING][Trigger.READY] = State.ACTIVE
TRANSITIONS[State.ACTIVE][Trigger.THINNED] = State.ACTIVE


class Cause(StrEnum):
    """Why a forward is not active: one word for machines, beside the sentence for people."""

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


# Answers that another attempt would only repeat: these fail at once, until something changes.
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


# No answer at all, or none from the API server itself (a captive portal has another certificate): it is asked again
# for all forwards, and none of them spends an attempt on it.
OUTAGE = frozenset({Cause.API_UNREACHABLE, Cause.TOO_SLOW, Cause.PROXY, Cause.TLS})

# Somebody has to log in: it is asked again for all, but seldom, since a plugin may open a browser each time.
LOGIN = frozenset({Cause.UNAUTHORIZED, Cause.CREDENTIALS})


@dataclass(frozen=True, slots=True)
class Problem:
    """A cause in the user's words, and what he can do about it (may be empty). Whatever texts it is made of, both are
    one line of printable text each."""

    cause: Cause
    message: str
    next_step: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", one_line(self.message))
        object.__setattr__(self, "next_step", one_line(self.next_step))

    def __str__(self) -> str:
        return f"{self.message}. {self.next_step}" if self.next_step else self.message


class ForwardError(Exception):
    """Carries a Problem up to whoever decides about another attempt."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


# The kinds of events beside the states' own names.
MOVED = "moved"  # active on another pod
NOTICE = "notice"  # on the whole instance
KUBECTL = "kubectl"  # a line that the forward's kubectl wrote
ADDED = "added"  # the forward is listed from now on
REMOVED = "removed"  # and no longer
UNPRINTED = frozenset({KUBECTL, ADDED, REMOVED})  # only subscribers get these


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change of one forward, or (`forward` None) one notice on the whole instance. Whatever text it is made of, the
    message is one line of printable text."""

    time: float  # seconds since the epoch
    forward: str | None
    kind: str  # a State's value, or one of the above
    message: str
    state: State | None = None
    cause: Cause | None = None
    pod: str | None = None
    port: int | None = None  # the local one
    attempt: int | None = None
    attempts: int | None = None
    delay: float | None = None  # seconds until the attempt
    traceback: tuple[str, ...] = ()  # of a bug, the first time that it shows: clean lines

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", one_line(self.message))


LOG = 200  # events that are kept of each forward


@dataclass(slots=True, kw_only=True)
class Status:
    """What is known of one forward now. The board owns it; the forward counts in it."""

    forward: Forward
    declared: bool = True  # by the file; False: started over the control socket
    state: State = State.STOPPED
    since: float = 0.0  # seconds since the epoch
    port: int | None = None  # the local port that is bound
    context: str | None = None  # as far as the kubeconfig was read
    namespace: str | None = None
    remote: int | None = None  # the port in the pod, once it is known
    pod: str | None = None
    problem: Problem | None = None
    attempt: int | None = None  # the one that comes at `retry_at`, of `attempts`
    attempts: int | None = None
    retry_at: float | None = None  # seconds since the epoch
    command: str | None = None  # of the last child, as a shell would take it
    restarts: int = 0  # children that were lost or left so far
    connections: int = 0
    held: int = 0
    bytes_in: int = 0  # from the client to the pod
    bytes_out: int = 0  # from the pod to the client
    log: deque[Event] = field(default_factory=lambda: deque(maxlen=LOG))  # its events and kubectl's lines, oldest first

    @property
    def hopeless(self) -> bool:
        """Whether it has failed, and does not come back by itself."""
        return self.state is State.FAILED and self.problem is not None and self.problem.cause in FINAL
