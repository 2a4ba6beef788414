"""Why the API server, or the `kubectl proxy` in front of it, did not give what was asked for. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Literal

from msgspec import Struct

from kpf_supervise.kubectl.answers import Malformed, decode
from kpf_supervise.kubectl.causes import explain, in_trouble
from kpf_supervise.model import Cause, Cluster, Problem
from kpf_supervise.text import redact

CONNECTION_LOST = "http2: client connection lost"  # how Go's HTTP/2 ends what it carried over a line that has died

# kubectl words a refused connection in its own way, and its other errors with a prefix. `explain` knows these.
_REFUSED = re.compile(r"(proxyconnect tcp: )?dial tcp (?P<server>\S+): connect: connection refused")
_UNREACHED = re.compile(r"timeout|deadline exceeded|no route to host|unreachable|host is down|no such host")
_PREFIX = "Unable to connect to the server: "


class StatusDetails(Struct):
    name: str = ""
    kind: str = ""
    group: str = ""


class Status(Struct):
    """The API server's object that says why a request failed."""

    kind: Literal["Status"]
    code: int = 0
    reason: str = ""
    message: str = ""
    details: StatusDetails | None = None


def no_answer(path: str, why: object) -> Problem:
    """What answered is no API server, or none that we understand."""
    path = path.partition("?")[0]
    return Problem(
        Cause.API_UNREACHABLE,
        f"what answered {path} is no API server, or one that kpf-supervise does not understand ({redact(str(why))})",
        "Is there a gateway or a login page in between? Open any page in a browser, and log in. Otherwise check with: "
        f"kubectl get --raw {path}",
    )


def refused(code: int, body: bytes, path: str, cluster: Cluster) -> Problem:
    """Why a request was answered with the HTTP status `code`: from the API server's Status, or from the code alone."""
    try:
        status = decode(body, Status)
    except Malformed:
        status = Status(kind="Status")
    return _by_code(code, status, path, cluster)


def _by_code(code: int, status: Status, path: str, cluster: Cluster) -> Problem:
    said = redact(status.message or status.reason) or _phrase(code)
    if code == HTTPStatus.UNAUTHORIZED:
        return explain(["error: You must be logged in to the server (Unauthorized)"], 1, cluster)
    if code == HTTPStatus.FORBIDDEN:
        return explain([f"Error from server (Forbidden): {said}"], 1, cluster)
    if code == HTTPStatus.NOT_FOUND and status.details is not None and status.details.name:
        kind = ".".join(filter(None, (status.details.kind, status.details.group)))
        return explain([f'Error from server (NotFound): {kind} "{status.details.name}" not found'], 1, cluster)
    if code == HTTPStatus.TOO_MANY_REQUESTS or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return in_trouble(f"{said} ({code})", cluster)
    if status.code:
        return Problem(Cause.OTHER, f"the API server said: {said}")
    if code == HTTPStatus.BAD_REQUEST:  # what Go's HTTPS server answers to http
        return explain([f"{_PREFIX}http: server gave HTTP response"], 1, cluster)
    return no_answer(path, f"{_phrase(code)}, {code}")


def _phrase(code: int) -> str:
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "unknown status"


def unreached(words: str) -> bool:
    """Whether nothing at all has come back from the network, in the words of Go's net package and of the kernel."""
    return _UNREACHED.search(words) is not None


def proxy_failed(words: str, said: Sequence[str], cluster: Cluster) -> Problem:
    """Why `kubectl proxy` itself could not ask: from the text of its answer, and the lines that it and a credential
    plugin wrote to stderr meanwhile."""
    first, *others = words.splitlines() or [""]
    found = _REFUSED.fullmatch(first)
    first = f"The connection to the server {found['server']} was refused" if found else f"{_PREFIX}{first}"
    plugins = said if "getting credentials: " in first else ()
    return explain([*plugins, first, *others], 1, cluster)
