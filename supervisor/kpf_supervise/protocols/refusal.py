"""Why the proxy does not connect a client, and how that is said in SOCKS5 and in HTTP. Pure."""

from __future__ import annotations

import json
from enum import Enum
from http import HTTPStatus

from kpf_supervise.model import Cause, Problem
from kpf_supervise.text import one_line


class Why(Enum):
    """The value is the reply code of RFC 1928, the HTTP status, and the error type of RFC 9209 (Proxy-Status)."""

    MALFORMED = (1, HTTPStatus.BAD_REQUEST, "http_request_error")
    DENIED = (2, HTTPStatus.FORBIDDEN, "http_request_denied")
    NO_SUCH_NAME = (4, HTTPStatus.NOT_FOUND, "destination_not_found")
    NO_SUCH_PORT = (5, HTTPStatus.BAD_GATEWAY, "connection_refused")
    NOT_FORWARDABLE = (4, HTTPStatus.BAD_GATEWAY, "destination_unavailable")
    BROKEN = (5, HTTPStatus.BAD_GATEWAY, "connection_terminated")
    UNAVAILABLE = (1, HTTPStatus.SERVICE_UNAVAILABLE, "destination_unavailable")
    NOT_IN_TIME = (4, HTTPStatus.GATEWAY_TIMEOUT, "connection_timeout")
    COMMAND = (7, HTTPStatus.NOT_IMPLEMENTED, "http_request_denied")
    ADDRESS = (8, HTTPStatus.FORBIDDEN, "destination_ip_prohibited")
    TOO_LARGE = (1, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "http_request_error")
    MISDIRECTED = (2, HTTPStatus.MISDIRECTED_REQUEST, "http_request_denied")

    @property
    def reply(self) -> int:
        return self.value[0]

    @property
    def status(self) -> HTTPStatus:
        return self.value[1]


class Refused(Exception):
    """The proxy does not connect a client. `sentence` is for the user: one line of printable text."""

    def __init__(self, why: Why, sentence: str) -> None:
        self.why = why
        self.sentence = one_line(sentence)
        super().__init__(self.sentence)


_BY_CAUSE = {
    Cause.FORBIDDEN: Why.DENIED,
    Cause.NO_SUCH_OBJECT: Why.NO_SUCH_NAME,
    Cause.NO_SUCH_NAMESPACE: Why.NO_SUCH_NAME,
    Cause.NO_SUCH_PORT: Why.NO_SUCH_PORT,
    Cause.REMOTE_REFUSED: Why.NO_SUCH_PORT,
    Cause.NO_SELECTOR: Why.NOT_FORWARDABLE,
    Cause.NO_READY_POD: Why.NOT_IN_TIME,
}


def from_problem(problem: Problem) -> Refused:
    """What a problem of a forward, or of a question to the API server, means to a client of the proxy."""
    return Refused(_BY_CAUSE.get(problem.cause, Why.UNAVAILABLE), f"{problem}.")


def http_headers(refused: Refused, length: int) -> list[tuple[str, str]]:
    """The headers of an HTTP answer. `Proxy-Status` tells a program that the answer is the proxy's, not the pod's."""
    details = json.dumps(refused.sentence.encode("ascii", "replace").decode())  # a string of RFC 8941
    return [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(length)),
        ("Proxy-Status", f"kpf-supervise; error={refused.why.value[2]}; details={details}"),
    ]
