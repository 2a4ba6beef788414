"""What one line of `kubectl port-forward` means. Pure.

Every pattern was recorded from kubectl 1.20 to 1.36 against a real cluster.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from kpf_supervise.text import redact


class Said(StrEnum):
    """What one line of `kubectl port-forward` tells about the child."""

    READY = "forwarding"
    HANDLING = "took a connection"
    UNREACHED = "the pod could not be dialled"
    POD_GONE = "the pod's sandbox is gone"
    RESET = "one connection broke inside the pod"
    STALLED = "the tunnel no longer answers"
    LOST = "lost the tunnel"
    REQUEST = "asked the API server about a pod"
    DUMP = "the stacks of kubectl before 1.25 that ends with an error, with -v=6"
    DETAIL = "what it does, for who looks for a fault in it"
    OTHER = "something else"


_SAID = [
    (Said.HANDLING, re.compile(r"Handling connection for \d+")),
    (Said.READY, re.compile(r"Forwarding from \S+:(?P<local>\d+) -> \d+")),
    (Said.POD_GONE, re.compile(r"error occurred forwarding .*(failed to find sandbox|network namespace for sandbox)")),
    (Said.POD_GONE, re.compile(r"error occurred forwarding .*(container not running|pod not found)")),
    # "connect: …" is the dial itself; a later "read: connection reset" is about an open connection
    (Said.UNREACHED, re.compile(r"error occurred forwarding .*connect: (connection refused|connection timed out)")),
    (Said.UNREACHED, re.compile(r"error occurred forwarding .*connect: (no route to host|network is unreachable)")),
    (Said.RESET, re.compile(r"error occurred forwarding ")),
    (Said.STALLED, re.compile(r"error creating (error|forwarding) stream .*[Tt]imeout occurr?ed")),
    (Said.LOST, re.compile(r"lost connection to pod")),
    # with -v=6, before it asks for the upgrade; the name ends the URL
    (Said.REQUEST, re.compile(r"\bGET\b.*/namespaces/[^/\s]+/pods/(?P<pod>[a-z0-9.-]+)[\s\"]")),
    (Said.DUMP, re.compile(r"^goroutine \d+ \[")),
    (Said.DETAIL, re.compile(r"^I\d{4} \d\d:\d\d:\d\d")),
]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a child: its meaning, its redacted text, the port of a READY line, and the pod of a REQUEST."""

    said: Said
    text: str
    port: int = 0
    pod: str = ""


def read_line(raw: str) -> Line:
    """The meaning of one line of stdout or stderr.

    kubectl 1.36 writes no newline after a `kuberc: …` notice, so a pattern may match anywhere in a line.
    """
    text = redact(raw.strip().replace('\\"', '"'))
    for said, pattern in _SAID:
        if found := pattern.search(text):
            port = int(found["local"]) if said is Said.READY else 0
            return Line(said, text, port, found["pod"] if said is Said.REQUEST else "")
    return Line(Said.OTHER, text)
