"""What a decision is made from, what it remembers, and what it asks for. Pure values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from kpf_supervise.counters import Unserved
from kpf_supervise.decision.tunnel_states import Endpoint, Reason, TunnelRecord, TunnelState
from kpf_supervise.discovery.sight import Departure, Left, Sight
from kpf_supervise.model import Forward, Problem, Reconnect, State, Trigger
from kpf_supervise.primitives.backoff import Tries
from kpf_supervise.watching.pods import Pod

Incarnation = tuple[str, int]  # see Pod
_UNLIMITED = Tries(Reconnect(attempts=None))


@dataclass(eq=False, slots=True)
class HeldClient:
    """A client that waits for a tunnel."""

    since: float  # when it connected
    number: int  # of all connections of the forward, from 1 on
    tunnel: TunnelRecord | None = None  # that it was given to
    let_go: Unserved | None = None  # why


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a decision about one forward depends on. Times are trio's."""

    now: float
    chance: float  # random, from 0 to 1: spreads retries over time
    settings: Forward
    local: str  # address and port on which it listens
    state: State
    sight: Sight
    tunnels: Sequence[TunnelRecord]  # oldest first
    held: Sequence[HeldClient]  # oldest first
    clients: int  # connected now, held or not
    arrived: int  # connections so far
    quiet_since: float  # valid while there are no clients
    restarts: int = 0  # how often the user asked for a fresh start


# What the forward does while no tunnel serves, and SERVING.


@dataclass(frozen=True, slots=True)
class Beginning:
    """Nothing is done yet."""


@dataclass(frozen=True, slots=True)
class Resting:
    """A lazy forward without clients."""


@dataclass(frozen=True, slots=True)
class Looking:
    """The target, or a pod given by name, is read. The answer counts once `after` look-ups have ended."""

    after: int
    pod: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """The target has no ready pod."""

    reread_at: float
    readings: int = 0  # of the target
    said: str = ""  # the reason that was told last
    was_gone: bool = False  # the target's object was not found
    asked: bool = False  # the API server was asked for the pod given by name


@dataclass(frozen=True, slots=True)
class Starting:
    """Tunnels are being started. `failed`: the pods whose tunnel could not be, in this attempt."""

    failed: frozenset[Incarnation | None] = frozenset()


@dataclass(frozen=True, slots=True)
class Serving:
    """`leaving` have stopped serving, and kubectl may say in a moment why."""

    leaving: tuple[TunnelRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class Loss:
    """Why no tunnel serves. `endpoint` is None if no pod was found."""

    problem: Problem
    endpoint: Endpoint | None = None
    lived: float = 0.0  # seconds for which the tunnel worked


@dataclass(frozen=True, slots=True)
class Asking:
    """The watch finds out for all forwards whether the API server answers."""

    loss: Loss
    listed: int


@dataclass(frozen=True, slots=True)
class Outage:
    """The API server does not answer."""


@dataclass(frozen=True, slots=True)
class Pausing:
    """Before the next attempt."""

    until: float
    listed: int


@dataclass(frozen=True, slots=True)
class Failed:
    """No attempt is left, or none can help. The facts at that time show what is new later."""

    closes: bool  # connections that are held are closed
    arrived: int
    listed: int
    usable: frozenset[tuple[str, int]]
    rested: float  # until then, only a new pod begins a new round


Phase = Beginning | Resting | Looking | Waiting | Starting | Serving | Asking | Outage | Pausing | Failed


@dataclass(frozen=True, slots=True)
class Pause:
    """Before a pod gets another tunnel, while others serve. Its attempts have no limit."""

    tries: Tries = _UNLIMITED
    until: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What one decision leaves to the next."""

    phase: Phase = Beginning()
    tries: Tries
    early: bool = False  # a tunnel was started early
    stale: bool = False  # the target may have changed since it was read
    failed_rounds: int = 0
    family: tuple[str, str] | None = None  # the controller of a pod given by name
    pod: Pod | None = None  # in use, or last used
    served: Pod | None = None  # on which the last tunnel became ready
    left: Departure | None = None  # why that one is left, as it was seen when the next tunnel was started
    refused: frozenset[Incarnation] = frozenset()  # pods that refused connections
    pauses: Mapping[Incarnation | None, Pause] = field(default_factory=lambda: MappingProxyType({}))
    pods: int = 0  # how many connections go to, as it was told last
    retired: str = ""  # why the last tunnel was retired although it worked
    gone: Mapping[TunnelRecord, float] = field(
        default_factory=lambda: MappingProxyType({})
    )  # since when its pod is gone
    restarts: int = 0
    signing_in: str = ""  # the sign-in that was told


# --- what is to be done


@dataclass(frozen=True, slots=True)
class Look:
    """Read the target if that is needed, and list the pods if they are not watched. With `pod`, also ask for the pod
    given by name. Its end is an event."""

    again: bool = False  # the target may have changed
    pod: bool = False


@dataclass(frozen=True, slots=True)
class Reread:
    """Read the target in the background, and use it as it was until then."""


@dataclass(frozen=True, slots=True)
class CheckApi:
    """Have the watch find out whether the API server answers."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start a tunnel, unless one to the same endpoint is being started. With `prove`, it serves only if a test
    connection is not refused."""

    endpoint: Endpoint
    renewed: int  # the value of Sight.renewed
    prove: bool = False
    early: bool = False


@dataclass(frozen=True, slots=True)
class Adopt:
    """The pod that an early tunnel has chosen is to be used."""

    tunnel: TunnelRecord
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Become:
    """A tunnel's next state. ENDED ends its kubectl."""

    tunnel: TunnelRecord
    state: TunnelState
    reason: Reason | None
    because: str
    renewed: int  # the value of Sight.renewed


@dataclass(frozen=True, slots=True)
class CheckTunnel:
    """Find out whether a SUSPECT tunnel answers."""

    tunnel: TunnelRecord
    renewed: int  # the value of Sight.renewed


@dataclass(frozen=True, slots=True)
class Forget:
    """Nothing more is to be decided about an ENDED tunnel."""

    tunnel: TunnelRecord


@dataclass(frozen=True, slots=True)
class Admit:
    client: HeldClient
    tunnel: TunnelRecord


@dataclass(frozen=True, slots=True)
class LetGo:
    """Close a held connection."""

    client: HeldClient
    why: Unserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """Change the forward's state and report it."""

    trigger: Trigger
    message: str
    kind: str | None = None
    problem: Problem | None = None
    attempt: int | None = None
    attempts: int | None = None
    delay: float | None = None
    left: Left | None = None  # why the forward has moved to another pod


@dataclass(frozen=True, slots=True)
class Notice:
    message: str


Action = Look | Reread | CheckApi | Start | Adopt | Become | CheckTunnel | Forget | Admit | LetGo | Tell | Notice


@dataclass(frozen=True, slots=True)
class Decision:
    """`actions` are to be done in this order. Decide again at `look_at`, and as soon as a fact has changed."""

    memory: Memory
    actions: Sequence[Action]
    look_at: float
