"""What an HTTP request to the proxy asks for, and what of it is sent on. Pure.

The rules are those of RFC 9110 (7.6, forwarding) and RFC 9112 (3.2, the forms of a request's target). No Via is added:
a client with `kubectl port-forward` would send none, and with it servers change what they send (nginx no longer
compresses). No X-Forwarded is added either, for the same reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from kpf_supervise.protocols.names import is_address, split_authority
from kpf_supervise.protocols.refusal import Refused, Why
from kpf_supervise.text import quote

Headers = list[tuple[bytes, bytes]]

# Of one connection only (RFC 9110, 7.6.1), and what older clients send in their place.
_HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"transfer-encoding",
    b"upgrade",
}
_SAFE = (b"GET", b"HEAD", b"OPTIONS")  # may be sent once more (RFC 9110, 9.2.1 and 9.2.2)
_HTTP = 80
_OWN = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class Tunnel:
    """CONNECT: bytes of any protocol to a host and port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class OwnPage:
    """A page of the proxy itself, which the client reaches at `authority`."""

    path: str
    authority: str


@dataclass(frozen=True, slots=True)
class Passage:
    """A request to be sent on. Without a port, the name alone decides."""

    host: str
    port: int | None
    request: h11.Request
    upgrade: bool  # the client offers another protocol
    again: bool  # it may be sent once more


Route = Tunnel | OwnPage | Passage


def route(request: h11.Request, addresses: Collection[str], port: int) -> Route:
    """What is to be done for a request, by a proxy that listens on these addresses and this port. Raises Refused."""
    check_site(request)
    target = request.target.decode("ascii", "replace")
    if request.method == b"CONNECT":
        host, wanted = split_authority(target)
        if wanted is None:
            raise Refused(Why.MALFORMED, f"CONNECT {quote(target)} has no port.")
        return Tunnel(host, wanted)
    scheme, separator, rest = target.partition("://")
    if separator and not target.startswith("/"):
        if scheme.lower() != "http":
            raise Refused(Why.MALFORMED, f"{quote(scheme)} can't be reached by a plain request: use CONNECT for it.")
        authority, path = _split(rest, request.method)
        host, wanted = split_authority(authority, _HTTP)
        return _passage(request, host, wanted, path, authority)
    authority = authority_of(request)
    host, wanted = split_authority(authority or "localhost", _HTTP)
    plain = host.lower().removesuffix(".")
    if plain.endswith(".localhost"):
        _check_origin(request)
        return _passage(request, host, None, target, authority)
    if plain not in _OWN and plain.strip("[]") not in addresses:
        raise Refused(
            Why.MISDIRECTED,
            f"this is a proxy, and {quote(authority)} is not one of its own names. Use it as a proxy, or ask for "
            f"http://SERVICE.NAMESPACE.localhost:{port}/.",
        )
    return OwnPage(target.partition("?")[0], authority or f"localhost:{port}")


def _split(rest: str, method: bytes) -> tuple[str, str]:
    """Authority and path of what follows `http://`."""
    end = next((at for at, char in enumerate(rest) if char in "/?#"), len(rest))
    path = rest[end:].partition("#")[0]
    if not path and method == b"OPTIONS":
        path = "*"  # the server as a whole
    return rest[:end], path if path.startswith(("/", "*")) else f"/{path}"


def authority_of(request: h11.Request) -> str:
    """The Host header; "" without one."""
    return _header(request.headers, b"host").decode("ascii", "replace")


def check_site(request: h11.Request) -> None:
    """A page of another site must not reach what only this machine is meant to. One that this machine serves may, such
    as a frontend in development: to a browser it is another site, too. Raises Refused."""
    if _header(request.headers, b"sec-fetch-site").lower() == b"cross-site" and not _is_local(_origin(request)):
        raise Refused(
            Why.DENIED,
            "a page of another site has asked for this, and it is not let in. To open it yourself, type its address.",
        )


def _check_origin(request: h11.Request) -> None:
    """A WebSocket may be opened by any page, and not every browser sends Sec-Fetch-Site with it. Raises Refused."""
    origin = _origin(request)
    if origin and _upgrade(request.headers) and not _is_local(origin):
        raise Refused(Why.DENIED, f"a page of {quote(origin)} has asked for this, and it is not let in.")


def _origin(request: h11.Request) -> str:
    """The page that has asked; "" if the browser does not say."""
    return _header(request.headers, b"origin").decode("ascii", "replace")


def _is_local(origin: str) -> bool:
    """Whether it is a page that this machine serves."""
    try:
        host = urlsplit(origin).hostname or ""
    except ValueError:
        return False
    loopback = is_address(host) and (host.startswith("127.") or host == "::1")
    return loopback or host == "localhost" or host.endswith(".localhost")


def _passage(request: h11.Request, host: str, port: int | None, path: str, authority: str) -> Passage:
    upgrade = _upgrade(request.headers)
    headers = end_to_end(request.headers.raw_items())
    headers = [(name, value) for name, value in headers if name.lower() != b"host"]
    headers.insert(0, (b"Host", authority.encode("ascii")))
    if upgrade:
        headers += [(b"Connection", b"Upgrade"), (b"Upgrade", upgrade)]
    body = _framing(request.headers)
    headers += body
    length = _header(request.headers, b"content-length")
    bodiless = not body and length in (b"", b"0")
    sent = h11.Request(method=request.method, target=path.encode("ascii"), headers=headers)
    again = request.method in _SAFE and bodiless and not upgrade
    return Passage(host, port, sent, bool(upgrade), again)


def _upgrade(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The protocols that the client offers, if it wants to change to one."""
    return _header(headers, b"upgrade") if b"upgrade" in _connection(headers) else b""


def _header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    """The value of a header, "" without it. h11 gives their names in lower case."""
    return b", ".join(value for key, value in headers if key == name)


def _connection(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    return {word.strip().lower() for word in _header(headers, b"connection").split(b",")}


def _framing(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """How a body of unknown length is marked on the next connection."""
    return [(b"Transfer-Encoding", b"chunked")] if _header(headers, b"transfer-encoding") else []


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Without those of the one connection, and without a length beside a Transfer-Encoding (RFC 9112, 6.3)."""
    listed = list(headers)
    lower = [(name.lower(), value) for name, value in listed]
    dropped = _HOP_BY_HOP | (_connection(lower) - {b"content-length"})  # a body without its length would be a request
    if _header(lower, b"transfer-encoding"):
        dropped = dropped | {b"content-length"}
    return [(name, value) for name, value in listed if name.lower() not in dropped]
