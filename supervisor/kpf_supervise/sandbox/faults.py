"""What a test can ask the sandbox cluster to do wrong. Plain data, read at the moment it matters."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(slots=True)
class Answer:
    """A Status, or with a `body` 200 and that, in place of the real answer, to requests whose method and path fit."""

    status: int
    message: str
    path: re.Pattern[str]  # searched for in the path (without query)
    method: str | None  # None: any
    times: int | None  # how often; None: always
    body: str | None = None


@dataclass(slots=True)
class Faults:
    """Change the fields or call the methods, at any time. `clear` makes all well again."""

    user: str = "sandbox"  # the name in "User … cannot …"
    forbidden: set[tuple[str, str]] = field(default_factory=set)
    answers: list[Answer] = field(default_factory=list)
    tokens: frozenset[str] | None = None  # the bearer tokens that are accepted; None: nobody need have one
    latency: float = 0.0  # seconds before each answer of the API
    mark_initial_events: bool = False  # a bookmark "initial-events-end" after a watch's first ADDED, as 1.36 sends
    # The upgrade of a port-forward, whether SPDY or WebSocket:
    upgrade_status: tuple[int, str] | None = None  # refuse it with this status and message ("": the usual one)
    upgrade_hangs: bool = False  # never answer it
    upgrade_delay: float = 0.0  # seconds before it is answered
    no_websocket: bool = False  # a cluster before 1.30: only SPDY
    no_accept_header: bool = False  # a WebSocket answer without Sec-WebSocket-Accept
    # The connections in a tunnel:
    port_errors: dict[tuple[str | None, int], str] = field(default_factory=dict)
    refused_ports: set[tuple[str | None, int]] = field(default_factory=set)
    no_reply: bool = False  # no SYN_REPLY ever: "error creating error stream"
    swallow: bool = False  # streams are accepted, nothing of them reaches the pod and nothing comes back

    def forbid(self, verb: str, resource: str) -> None:
        """As RBAC would: `forbid("watch", "pods")`, `forbid("create", "pods/portforward")`. `*` is any verb."""
        self.forbidden.add((verb, resource))

    def allow(self, verb: str, resource: str) -> None:
        self.forbidden.discard((verb, resource))

    def forbids(self, verb: str, resource: str) -> bool:
        return bool({(verb, resource), ("*", resource)} & self.forbidden)

    def accept_tokens(self, *tokens: str) -> None:
        """Answer 401 to whoever brings none of these bearer tokens (kubectl sends them over TLS only)."""
        self.tokens = frozenset(tokens)

    def accepts(self, authorization: str) -> bool:
        return self.tokens is None or authorization.removeprefix("Bearer ") in self.tokens

    def answer(
        self, status: int, message: str = "", *, path: str = "", method: str | None = None, times: int | None = None
    ) -> None:
        """Answer requests whose path contains the regular expression `path` with an error Status."""
        if not message:
            message = REASONS.get(status, "Unknown")
        self.answers.append(Answer(status, message, re.compile(path), method, times))

    def answer_with(self, body: str, *, path: str, times: int | None = None) -> None:
        """Answer GET requests whose path contains the regular expression `path` with 200 and this text as it is."""
        self.answers.append(Answer(200, "", re.compile(path), "GET", times, body))

    def answer_to(self, method: str, path: str) -> Answer | None:
        """The answer for this request, if one is asked for; counts it."""
        for answer in self.answers:
            if answer.method in (None, method) and answer.path.search(path):
                if answer.times is not None:
                    answer.times -= 1
                    if not answer.times:
                        self.answers.remove(answer)
                return answer
        return None

    def refuse_upgrade(self, status: int, message: str = "") -> None:
        """Answer it with an error; without a `message`, with what a real cluster says at that status."""
        self.upgrade_status = (status, message)

    def hang_upgrade(self) -> None:
        self.upgrade_hangs = True

    def port_error(self, port: int, text: str, pod: str | None = None) -> None:
        """Each connection to that port of the pod (None: of any) fails with `text` on its error stream."""
        self.port_errors[pod, port] = text

    def refuse_port(self, port: int, pod: str | None = None) -> None:
        """As if nothing listened on that port of the pod (None: of any)."""
        self.refused_ports.add((pod, port))

    def error_of(self, pod: str, port: int) -> str | None:
        return self.port_errors.get((pod, port), self.port_errors.get((None, port)))

    def refuses(self, pod: str, port: int) -> bool:
        return bool({(pod, port), (None, port)} & self.refused_ports)

    def clear(self) -> None:
        """All well again, in place."""
        fresh = Faults()
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(fresh, name))
