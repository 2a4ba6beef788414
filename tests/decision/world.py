"""A cluster, kubectls and clients that are only facts: what happens to them is said, and decisions are carried out at
once. Nothing runs and nothing waits."""

from __future__ import annotations

from dataclasses import replace

from kpf_supervise.config.selectors import parse_selector
from kpf_supervise.decision.decide import decide
from kpf_supervise.decision.facts import (
    Action,
    Admit,
    Adopt,
    Become,
    CheckApi,
    CheckTunnel,
    Facts,
    Forget,
    HeldClient,
    LetGo,
    Look,
    Memory,
    Notice,
    Reread,
    Start,
    Tell,
)
from kpf_supervise.decision.tunnel_states import TunnelRecord, TunnelState
from kpf_supervise.discovery.choice import Destination
from kpf_supervise.discovery.sight import Sight
from kpf_supervise.model import TRANSITIONS, Cause, Forward, Problem, Reconnect, State, Target
from kpf_supervise.primitives.backoff import Tries
from kpf_supervise.watching.pods import Pod, PodSet

TARGET = Target("selector", "app=web")
FORWARD = Forward(id="web", target=TARGET, remote=8080, reconnect=Reconnect(attempts=3, initial=0.5, max=4))
UNREACHABLE = Problem(Cause.API_UNREACHABLE, "the API server does not answer")
REFUSED = Problem(Cause.UNAUTHORIZED, "the API server does not accept your credentials")
_ROUNDS = 30  # decisions after one fact until nothing more is to be done
_EVENTS = (Look, CheckApi)  # a forwarder is told when they have ended


def pod(name: str, *, ready: bool = True, terminating: bool = False, restarts: int = 0, uid: str = "") -> Pod:
    return Pod(
        name=name,
        uid=uid or f"uid of {name}",
        created=name,
        labels={"app": "web"},
        ready=ready,
        terminating=terminating,
        restarts=restarts,
        family=("Deployment", "web"),
        ports={},
        trouble="" if ready else "running, but not ready",
    )


class World:
    """`transcript` has a line for each thing that was done, apart from looking and forgetting."""

    def __init__(self, settings: Forward = FORWARD) -> None:
        self.settings = settings
        self.now = 1000.0
        self.look_at = float("inf")
        self.chance = 0.0
        self.state = State.STOPPED
        self.memory = Memory(tries=Tries(settings.reconnect))
        self.transcript: list[str] = []
        self.told = ""  # the last message, in full
        self.pods: dict[str, Pod] = {}
        self.listed = 1
        self.renewed = 0
        self.down = False  # the API server does not answer
        self.known_down = False  # and the watch has noticed that
        self.cut_off = False  # nothing at all comes from it
        self.refuses = False  # it answers, but not what is asked
        self.target = Destination(settings.target, parse_selector(TARGET.name))  # as it is read
        self.where: Destination | None = None
        self.looks = 0
        self.looking = False
        self.signs_in = False
        self.signing_in_since: float | None = None
        self.no_login: Problem | None = None
        self.slow = False  # a look-up ends only when `end_look` is called
        self.failure: Problem | None = None
        self.unlisted: Problem | None = None  # why the pods can't be listed, if the API server answers
        self.tunnels: list[TunnelRecord] = []
        self.started: list[TunnelRecord] = []  # all that ever were
        self.held: list[HeldClient] = []
        self.served: dict[HeldClient, TunnelRecord] = {}
        self.names: dict[HeldClient, str] = {}
        self.arrived = 0
        self.quiet_since = self.now
        self.restarts = 0

    def facts(self) -> Facts:
        sight = Sight(
            target=self.settings.target,
            namespace="shop",
            where=self.where,
            looks=self.looks,
            looking=self.looking,
            failure=self.failure,
            watched=True,
            signs_in=self.signs_in,
            signing_in=f"signing in with login since {self.signing_in_since:.0f}" if self.signing_in_since else "",
            signing_in_since=self.signing_in_since,
            no_login=self.no_login,
            pods=PodSet(self.pods.values()),
            listed=self.listed,
            problem=REFUSED if self.refuses else UNREACHABLE if self.known_down else self.unlisted,
            cut_off=self.cut_off,
            renewed=self.renewed,
            why_renewed="connections to the API server had died",
        )
        return Facts(
            now=self.now,
            chance=self.chance,
            settings=self.settings,
            local="localhost:80",
            state=self.state,
            sight=sight,
            tunnels=self.tunnels,
            held=self.held,
            clients=len(self.held) + len(self.served),
            arrived=self.arrived,
            quiet_since=self.quiet_since,
            restarts=self.restarts,
        )

    def settle(self) -> None:
        """Decide and act until there is nothing more to do, once for each event, as a forwarder does: an action whose
        end is no event is the last one."""
        event = True
        for _ in range(_ROUNDS):
            decision = decide(self.facts(), self.memory)
            quiet = not decision.actions and decision.memory == self.memory
            assert event or not decision.actions, f"{decision.actions} would wait for an event"
            event = decision.look_at <= self.now or any(isinstance(action, _EVENTS) for action in decision.actions)
            self.memory, self.look_at = decision.memory, decision.look_at
            for action in decision.actions:
                self._do(action)
            if quiet:
                assert self.look_at > self.now, "it would be decided again and again"
                return
        raise AssertionError(f"it never comes to rest: {decision.actions}")

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while self.look_at <= until:
            self.now = self.look_at
            self.settle()
        self.now = until
        self.settle()

    # --- what is done

    def _do(self, action: Action) -> None:
        match action:
            case Look():
                self._look()
            case Reread():
                pass
            case CheckApi():
                self.known_down = self.down
                self.listed += not self.down
            case Start(endpoint, renewed, prove, early):
                tunnel = TunnelRecord(endpoint=endpoint, prove=prove, early=early, renewed=renewed, started=self.now)
                self.tunnels.append(tunnel)
                self.started.append(tunnel)
                self._note(f"start {self.name(tunnel)} on {endpoint.label}{', test it first' if prove else ''}")
            case Adopt(tunnel, endpoint):
                tunnel.adopt(endpoint)
                self._note(f"{self.name(tunnel)} is on {endpoint.label}, as wanted")
            case Become(tunnel, state, reason, because, renewed):
                tunnel.become(state, reason, because, renewed)
                why = "" if reason is None or state is TunnelState.SERVING else f": {because or reason.value}"
                self._note(f"{self.name(tunnel)} {state}{why}")
                if state is TunnelState.ENDED:
                    self._lose_clients(tunnel)
            case CheckTunnel(tunnel, renewed):
                assert tunnel.begin_check(renewed)
                self._note(f"check {self.name(tunnel)}")
            case Forget(tunnel):
                self.tunnels.remove(tunnel)
            case Admit(client, tunnel):
                right = [each for each in self.tunnels if each.state is TunnelState.SERVING]
                assert tunnel in right or (not right and tunnel.state is TunnelState.RETIRING)
                self._check_choice(tunnel, right)
                self.held.remove(client)
                self.served[client] = tunnel
                tunnel.connections += 1
                tunnel.newest = client.number
                self._note(f"{self.names[client]} gets {self.name(tunnel)}")
            case LetGo(client, why):
                self.held.remove(client)
                self._note(f"{self.names[client]} is let go: {why}")
                self._left()
            case Tell(trigger=trigger, kind=kind, message=message, left=left):
                assert left is None or kind == "moved"
                self.state = TRANSITIONS[self.state][trigger]
                self.told = message
                self._note(f"tell {kind or self.state}: {message.partition('. ')[0].replace(' (0.00 s)', '')}")
            case Notice(message):
                self._note(f"notice: {message}")

    def _check_choice(self, tunnel: TunnelRecord, serving: list[TunnelRecord]) -> None:
        """Nobody has fewer connections, and no client goes to a pod that is known not to be ready if another is."""
        shared = serving[: self.settings.children]
        assert all(tunnel.connections <= each.connections for each in shared)
        ready = {each.incarnation for each in self.pods.values() if each.usable}
        if self.facts().sight.fresh and any(each.incarnation in ready for each in shared):
            assert tunnel.incarnation in ready

    def _note(self, line: str) -> None:
        self.transcript.append(line)

    def _look(self) -> None:
        self.looking = True
        if not self.slow:
            self.end_look()

    def fail_look(self, problem: Problem) -> None:
        """Nor can the pods be listed."""
        self.looking = False
        self.looks += 1
        self.failure = self.unlisted = problem
        self.slow = False
        self.settle()

    def end_look(self) -> None:
        self.looking = False
        self.looks += 1
        self.failure = UNREACHABLE if self.down else None
        if not self.down:
            self.where = self.target

    def _lose_clients(self, tunnel: TunnelRecord) -> None:
        for client in [client for client, each in self.served.items() if each is tunnel]:
            del self.served[client]
            tunnel.connections -= 1
            self._note(f"{self.names[client]} is cut off")
            self._left()

    def _left(self) -> None:
        self.quiet_since = self.now

    def name(self, tunnel: TunnelRecord) -> str:
        return f"#{self.started.index(tunnel) + 1}"

    # --- what happens

    def set_pod(self, name: str, **changed: object) -> None:
        self.pods[name] = replace(self.pods.get(name) or pod(name), **changed)  # type: ignore[arg-type]
        self.settle()

    def remove_pod(self, name: str) -> None:
        self.pods.pop(name, None)
        self.settle()

    def ready(self, tunnel: TunnelRecord) -> None:
        tunnel.ready = self.now
        self.settle()

    def says(self, tunnel: TunnelRecord, cause: Cause) -> None:
        if tunnel.said is None:
            tunnel.said, tunnel.said_at = Problem(cause, f"kubectl says {cause}"), self.now
            tunnel.unreached = cause in (Cause.REMOTE_REFUSED, Cause.POD_GONE)
        self.settle()

    def exits(self, tunnel: TunnelRecord, cause: Cause) -> None:
        """Its connections end with it."""
        tunnel.exited = Problem(cause, f"kubectl ended: {cause}")
        self._lose_clients(tunnel)
        self.settle()

    def connect(self, name: str) -> HeldClient:
        self.arrived += 1
        client = HeldClient(self.now, self.arrived)
        self.names[client] = name
        self.held.append(client)
        self.settle()
        return client

    def leave(self, client: HeldClient) -> None:
        if client in self.held:
            self.held.remove(client)
        elif client in self.served:
            tunnel = self.served.pop(client)
            tunnel.connections -= 1
            tunnel.blocked.pop(client.number, None)
        self._left()
        self.settle()

    def lose_api(self, known: bool = True) -> None:
        self.down = True
        self.known_down = known
        self.settle()

    def lose_line(self) -> None:
        self.cut_off = True
        self.lose_api()

    def regain_line(self) -> None:
        """The API server answers, and refuses to list pods."""
        self.cut_off, self.refuses = False, True
        self.settle()

    def regain_api(self) -> None:
        self.listed += self.down
        self.renewed += self.cut_off
        self.down = self.known_down = self.cut_off = self.refuses = False
        self.settle()

    def renew(self) -> None:
        self.renewed += 1
        self.settle()
