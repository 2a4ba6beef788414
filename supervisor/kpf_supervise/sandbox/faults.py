"""The faults that a test can inject into the sandbox cluster. Plain data, read at the moment of use."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import trio

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(slots=True)
class Answer:
    """Replaces the answer to requests that match method and path: with a Status, or with 200 and `body` if set."""

    status: int
    message: str
    path: re.Pattern[str]  # searched for in the path (without query)
    method: str | None  # None: any
    times: int | None  # how many times; None: always
    body: str | None = None


@dataclass(slots=True)
class Faults:
    """Change the fields or call the methods at any time. `clear` removes all faults."""

    user: str = "sandbox"  # the name in "User … cannot …"
    forbidden: set[tuple[str, str]] = field(default_factory=set)
    answers: list[Answer] = field(default_factory=list)
    latency: float = 0.0  # seconds before each API answer to a path in which `slow` is found
    slow: re.Pattern[str] = field(default_factory=lambda: re.compile(""))
    mark_initial_events: bool = False  # send the bookmark "initial-events-end" after the first ADDED events, as 1.36
    # The upgrade of a port-forward, whether SPDY or WebSocket:
    upgrade_status: tuple[int, str] | None = None  # refuse with this status and message ("": the usual one)
    upgrade_hangs: bool = False  # never answer
    upgrade_hold: trio.Event | None = None  # no answer before it is set
    upgrade_delay: float = 0.0  # seconds before the answer
    no_websocket: bool = False  # act like a cluster before 1.30: SPDY only
    no_accept_header: bool = False  # answer a WebSocket upgrade without Sec-WebSocket-Accept
    # The connections in a tunnel:
    port_errors: dict[tuple[str | None, int], str] = field(default_factory=dict)
    refused_ports: set[tuple[str | None, int]] = field(default_factory=set)
    no_reply: bool = False  # never send SYN_REPLY: "error creating error stream"
    swallow: bool = False  # accept streams, but pass no data in either direction

    def forbid(self, verb: str, resource: str) -> None:
        """Forbid it like RBAC: `forbid("watch", "pods")`, `forbid("create", "pods/portforward")`. `*` is any verb."""
        self.forbidden.add((verb, resource))

    def allow(self, verb: str, resource: str) -> None:
        self.forbidden.discard((verb, resource))

    def forbids(self, verb: str, resource: str) -> bool:
        return bool({(verb, resource), ("*", resource)} & self.forbidden)

    def answer(
        self, status: int, message: str = "", *, path: str = "", method: str | None = None, times: int | None = None
    ) -> None:
        """Answer requests whose path contains the regular expression `path` with an error Status."""
        if not message:
            message = REASONS.get(status, "Unknown")
        self.answers.append(Answer(status, message, re.compile(path), method, times))

    def answer_with(self, body: str, *, path: str, times: int | None = None) -> None:
        """Answer GET requests whose path contains the regular expression `path` with 200 and this text, unchanged."""
        self.answers.append(Answer(200, "", re.compile(path), "GET", times, body))

    def answer_to(self, method: str, path: str) -> Answer | None:
        """The replacement answer for this request, if any. Counts its use."""
        for answer in self.answers:
            if answer.method in (None, method) and answer.path.search(path):
                if answer.times is not None:
                    answer.times -= 1
                    if not answer.times:
                        self.answers.remove(answer)
                return answer
        return None

    def refuse_upgrade(self, status: int, message: str = "") -> None:
        """Answer the upgrade with an error. The default `message` is the one of a real cluster for that status."""
        self.upgrade_status = (status, message)

    def hang_upgrade(self) -> None:
        self.upgrade_hangs = True

    def port_error(self, port: int, text: str, pod: str | None = None) -> None:
        """Each connection to that port of the pod (None: of any) fails with `text` on its error stream."""
        self.port_errors[pod, port] = text

    def refuse_port(self, port: int, pod: str | None = None) -> None:
        """Refuse connections to that port of the pod (None: of any), as if nothing listened there."""
        self.refused_ports.add((pod, port))

    def error_of(self, pod: str, port: int) -> str | None:
        return self.port_errors.get((pod, port), self.port_errors.get((None, port)))

    def refuses(self, pod: str, port: int) -> bool:
        return bool({(pod, port), (None, port)} & self.refused_ports)

    def clear(self) -> None:
        """Remove all faults, in place."""
        fresh = Faults()
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(fresh, name))
