"""The states of a tunnel, and what is known of one. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum

from kpf_supervise.model import Problem
from kpf_supervise.watching.pods import Pod


class TunnelState(StrEnum):
    """What a tunnel is used for. Only a SERVING tunnel gets new connections, apart from the fallback (clients.py)."""

    STARTING = "starting"
    SERVING = "serving"
    SUSPECT = "suspect"  # it may be dead: a fresh tunnel is started, and then this one is checked
    RETIRING = "retiring"  # it keeps the connections that it has
    ENDED = "ended"


class TunnelTrigger(StrEnum):
    """What can change a tunnel's state."""

    READY = "kubectl forwards, and a test connection was not refused if one was needed"
    SUSPECTED = "something says that it may be dead"
    CLEARED = "what was missing has come"
    RETIRED = "new connections get another tunnel"
    ENDED = "its kubectl has ended, or is ended now"


# state × trigger → state. A transition that is not in this table can't happen.
TUNNEL_TRANSITIONS: dict[TunnelState, dict[TunnelTrigger, TunnelState]] = {
    TunnelState.STARTING: {
        TunnelTrigger.READY: TunnelState.SERVING,
        TunnelTrigger.ENDED: TunnelState.ENDED,
    },
    TunnelState.SERVING: {
        TunnelTrigger.SUSPECTED: TunnelState.SUSPECT,
        TunnelTrigger.RETIRED: TunnelState.RETIRING,
        TunnelTrigger.ENDED: TunnelState.ENDED,
    },
    TunnelState.SUSPECT: {
        TunnelTrigger.CLEARED: TunnelState.SERVING,
        TunnelTrigger.RETIRED: TunnelState.RETIRING,
        TunnelTrigger.ENDED: TunnelState.ENDED,
    },
    TunnelState.RETIRING: {
        TunnelTrigger.SUSPECTED: TunnelState.SUSPECT,
        TunnelTrigger.ENDED: TunnelState.ENDED,
    },
    TunnelState.ENDED: {},
}


class Reason(Enum):
    """Why a tunnel left the state SERVING, or ended before it."""

    FAULT = "kubectl said that it no longer forwards, or ended"
    CUT_OFF = "nothing comes from the API server"
    RENEWED = "connections to the API server have died"
    SILENT = "a client gets no answer, nor does any other"
    STALLED = "a client reads nothing, which stalls all connections of its kubectl"
    WEDGED = "a client broke a download off, which wedges kubectl before 1.32"
    MOVED = "another pod is to be used"
    QUIET = "nobody has used it for the idle timeout"
    RESTARTED = "the user wants a fresh one"
    DRAINED = "it has no connections left"
    DEAD = "the check found it dead"
    POD_GONE = "its pod is gone"
    CROWDED = "too many kubectls wait for clients that read nothing"
    SURPLUS = "it is not needed any more"

    @property
    def word(self) -> str:
        """For programs; none is also a Cause's with another meaning."""
        return "slow-client" if self is Reason.STALLED else self.name.lower().replace("_", "-")


class Check(Enum):
    """The check of a SUSPECT tunnel by a connection of our own."""

    NOT_MADE = "not made"
    RUNNING = "running"
    ALIVE = "it answers"
    DEAD = "it does not answer"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a kubectl forwards to. `pod` is None if listing pods is forbidden: kubectl then finds the pod itself."""

    pod: Pod | None
    what: str  # kubectl's argument
    remote: int | str

    @property
    def incarnation(self) -> tuple[str, int] | None:
        """Of its pod."""
        return self.pod.incarnation if self.pod else None

    @property
    def label(self) -> str:
        return self.pod.name if self.pod else self.what


class Patience:
    """How long a new connection of one forward may go without an answer before its tunnel is suspect."""

    def __init__(self) -> None:
        self.limit = 5.0  # seconds
        self.answered = False  # at least once, so a missing answer means something

    def was_too_short(self) -> None:
        """The answer came after all: this server is slow. After three times, only kubectl's own message counts, which
        comes after 30 s."""
        self.limit = self.limit * 2 if self.limit < 20 else float("inf")


@dataclass(eq=False, kw_only=True, repr=False)
class TunnelRecord:
    """What is known of one tunnel. What the process, the relay and the check observe is written by them; the last three
    fields are written where a decision is carried out. Times are trio's."""

    endpoint: Endpoint
    renewed: int = 0  # the value of Sight.renewed when its connection was made, or last suspected
    prove: bool = False  # it serves only if a test connection is not refused
    early: bool = False  # started before any pod was known: it serves only once the listing agrees with its choice
    wedges: bool = False  # a client that aborts a download may stop it for good (kubectl before 1.32)
    patience: Patience = field(default_factory=Patience)
    started: float = 0.0
    ready: float | None = None  # since when it can serve
    went_to: str = ""  # the pod that an early one has chosen
    said: Problem | None = None  # it runs, but said that it no longer forwards
    said_at: float = 0.0
    unreached: bool = False  # it said that the pod could not be dialled, or is gone
    stalls: int = 0  # how often it said that its connection gave no answer
    exited: Problem | None = None  # why its process ended; None while it runs
    opened: int = 0  # connections that we made to it, in order
    handled: int = 0  # connections that it says it took: always the oldest of those opened
    connections: int = 0  # open now
    newest: int = 0  # the number of the last client that was given to it
    proven: bool = False  # a byte came back from the pod
    heard: float = 0.0  # when the last byte came
    unanswered: float | None = None  # seconds for which a client has had no answer, nor has any other
    broken_off: bool = False  # a client broke a download off
    blocked: dict[int, float] = field(default_factory=dict)  # by connection: since when it waits for its client to read
    check: Check = Check.NOT_MADE
    state: TunnelState = TunnelState.STARTING
    reason: Reason | None = None
    because: str = ""  # the reason as it is told to people; empty if `fault` tells it

    def become(self, state: TunnelState, reason: Reason | None, because: str, renewed: int) -> None:
        """Carry out a decision. Each suspicion has a check of its own, and deals with all that `renewed` tells."""
        self.state, self.reason, self.because = state, reason, because
        if state is TunnelState.SUSPECT:
            self.renewed = renewed
            if self.check is not Check.RUNNING:
                self.check = Check.NOT_MADE

    def adopt(self, endpoint: Endpoint) -> None:
        """The pod that it has chosen is to be used."""
        self.endpoint, self.early = endpoint, False

    def begin_check(self, renewed: int) -> bool:
        """False if a check is being made, or was. It deals with all that `renewed` tells."""
        if self.check is not Check.NOT_MADE:
            return False
        self.check, self.renewed = Check.RUNNING, renewed
        return True

    def __repr__(self) -> str:
        return f"<tunnel to {self.endpoint.label}, {self.state}>"

    @property
    def incarnation(self) -> tuple[str, int] | None:
        """Of its pod; None if listing pods is forbidden."""
        return self.endpoint.incarnation

    @property
    def fault(self) -> Problem | None:
        """Why it can no longer be used, in kubectl's own words, or None."""
        return self.exited or self.said

    def cause(self, reason: Reason | None) -> str:
        """Why it stops serving, as a word for programs: a Cause if it has a fault, else a Reason."""
        fault = self.fault if reason in (None, Reason.FAULT) else None
        return fault.cause.value if fault is not None else (reason or Reason.FAULT).word

    def stalled(self, now: float) -> float:
        """Seconds for which a client has read nothing. All connections of its kubectl wait meanwhile, in every version:
        the tunnel has no flow control of its own."""
        return now - min(self.blocked.values()) if self.blocked else 0.0
