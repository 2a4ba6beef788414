"""What a request to the port of the metrics gets. Pure.

A page of another site must not read them: it is not let in by what its browser says of it, nor under a name of its own
that leads to this machine (DNS rebinding). No answer allows other sites to read it.
"""

from __future__ import annotations

from enum import Enum, auto

import h11

from kpf_supervise.protocols.http import authority_of, check_site
from kpf_supervise.protocols.names import is_address, split_authority
from kpf_supervise.protocols.refusal import Refused, Why
from kpf_supervise.text import quote

INDEX = '<!DOCTYPE html>\n<title>kpf-supervise</title>\n<a href="metrics">metrics</a> of kpf-supervise\n'


class Page(Enum):
    INDEX = auto()
    METRICS = auto()


def page(request: h11.Request) -> Page:
    """Raises Refused."""
    check_site(request)
    host, _ = split_authority(authority_of(request) or "localhost")
    if host.lower().removesuffix(".") != "localhost" and not is_address(host):
        raise Refused(Why.MISDIRECTED, f"{quote(host)} is not this machine's: ask for localhost, or for an IP address.")
    path = request.target.partition(b"?")[0]
    found = {b"/": Page.INDEX, b"/metrics": Page.METRICS}.get(path)
    if found is None:
        raise Refused(Why.NO_SUCH_NAME, "there are two pages: / and /metrics.")
    if request.method not in (b"GET", b"HEAD"):
        raise Refused(Why.COMMAND, "this page can only be read.")
    return found


def accepted(request: h11.Request) -> str:
    """The formats that the client understands; "" if it does not say."""
    return b",".join(value for name, value in request.headers if name == b"accept").decode("ascii", "ignore")
