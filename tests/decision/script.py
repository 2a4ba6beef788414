"""Histories as text: `what happens` on a line of its own, and below it, indented, all that is then done."""

from __future__ import annotations

import re
from collections.abc import Callable

from kpf_supervise.decision.facts import HeldClient
from kpf_supervise.decision.tunnel_states import Check, TunnelRecord
from kpf_supervise.model import Cause, Problem
from tests.decision.world import World

NO_LOGIN = Problem(Cause.CREDENTIALS, "the plugin failed", "Sign in")


class Script:
    """Plays the lines of a history in a World."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._clients: dict[str, HeldClient] = {}

    def play(self, history: str) -> str:
        """The history with what really was done."""
        lines = []
        for line in history.strip().splitlines():
            if line.startswith(" "):
                continue
            self.world.transcript.clear()
            self._happens(line)
            lines += [line, *(f"    {done}" for done in self.world.transcript)]
        return "\n".join(lines)

    def _happens(self, line: str) -> None:
        for pattern, happens in _FACTS.items():
            if found := re.fullmatch(pattern, line):
                happens(self, *found.groups())
                return
        raise AssertionError(f"no fact: {line}")

    def tunnel(self, number: str) -> TunnelRecord:
        return self.world.started[int(number) - 1]

    def connect(self, name: str) -> None:
        self._clients[name] = self.world.connect(name)

    def leave(self, name: str) -> None:
        self.world.leave(self._clients[name])

    def observe(self, number: str, **seen: object) -> None:
        for name, value in seen.items():
            setattr(self.tunnel(number), name, value)
        self.world.settle()

    def block(self, name: str) -> None:
        client = self._clients[name]
        self.world.served[client].blocked[client.number] = self.world.now
        self.world.settle()

    def restart(self, ready: str = "") -> None:
        """With the number of a tunnel whose kubectl is ready in that moment."""
        if ready:
            self.tunnel(ready).ready = self.world.now
        self.world.restarts += 1
        self.world.settle()

    def begin(self) -> None:
        """Before anything is known of the target and its pods."""
        self.world.listed, self.world.slow = 0, True
        self.world.settle()

    def end_look(self) -> None:
        self.world.listed, self.world.slow = 1, False
        self.world.end_look()
        self.world.settle()

    def begin_sign_in(self) -> None:
        self.world.signing_in_since, self.world.no_login = self.world.now, None
        self.world.settle()

    def end_sign_in(self, problem: Problem | None = None) -> None:
        self.world.signing_in_since, self.world.no_login = None, problem
        self.world.settle()

    def fail_look(self) -> None:
        self.world.fail_look(NO_LOGIN)

    def list_pods(self) -> None:
        self.world.listed += 1
        self.world.unlisted = None
        self.world.settle()


def _pod(**changed: object) -> Callable[[Script, str], None]:
    return lambda script, name: script.world.set_pod(name, **changed)


_FACTS: dict[str, Callable[..., None]] = {
    r"(web-\d) is ready": _pod(ready=True, terminating=False, trouble=""),
    r"(web-\d) is deleted": _pod(terminating=True),
    r"(web-\d) is not ready": _pod(ready=False, trouble="running, but not ready"),
    r"(web-\d)'s container has restarted": lambda script, name: script.world.set_pod(
        name, restarts=script.world.pods[name].restarts + 1
    ),
    r"(web-\d) is gone": lambda script, name: script.world.remove_pod(name),
    r"#(\d) is ready": lambda script, number: script.world.ready(script.tunnel(number)),
    r"#(\d) says ([\w-]+)": lambda script, number, cause: script.world.says(script.tunnel(number), Cause(cause)),
    r"#(\d) ends: ([\w-]+)": lambda script, number, cause: script.world.exits(script.tunnel(number), Cause(cause)),
    r"#(\d) has not answered for 5 s": lambda script, number: script.observe(number, unanswered=5.0),
    r"#(\d) answers": lambda script, number: script.observe(number, unanswered=None),
    r"#(\d) does not answer the check": lambda script, number: script.observe(number, check=Check.DEAD),
    r"#(\d) answers the check": lambda script, number: script.observe(number, check=Check.ALIVE),
    r"a client of #(\d) breaks a download off": lambda script, number: script.observe(number, broken_off=True),
    r"(\w+) connects": Script.connect,
    r"(\w+) leaves": Script.leave,
    r"(\w+) reads nothing": Script.block,
    r"the API server is gone, which the watch has not noticed": lambda script: script.world.lose_api(known=False),
    r"the API server is gone": lambda script: script.world.lose_api(),
    r"the API server answers": lambda script: script.world.regain_api(),
    r"nothing comes from the API server": lambda script: script.world.lose_line(),
    r"the API server answers, and refuses": lambda script: script.world.regain_line(),
    r"connections to the API server had died": lambda script: script.world.renew(),
    r"([\d.]+) s pass": lambda script, seconds: script.world.pass_time(float(seconds)),
    r"#(\d) goes to (web-\d)": lambda script, number, name: script.observe(number, went_to=name),
    r"nothing is known": Script.begin,
    r"the target is read and its pods are listed": Script.end_look,
    r"the pods are listed again": Script.list_pods,
    r"a sign-in begins": Script.begin_sign_in,
    r"the sign-in succeeds": Script.end_sign_in,
    r"the sign-in fails": lambda script: script.end_sign_in(NO_LOGIN),
    r"the target can't be read without it": Script.fail_look,
    r"the user restarts it": Script.restart,
    r"the user restarts it as #(\d) is ready": Script.restart,
}
