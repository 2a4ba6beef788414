"""What an HTTP request asks for, and what of it is sent on."""

from __future__ import annotations

from contextlib import suppress

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpf_supervise.protocols.http import OwnPage, Passage, Route, Tunnel, end_to_end, route
from kpf_supervise.protocols.pac import pac
from kpf_supervise.protocols.refusal import Refused, Why, http_headers
from kpf_supervise.protocols.told import Sparing

AT = ("localhost", "127.0.0.1")


def asked(text: str, port: int = 1080) -> Route:
    """The route of a request with this first line and these headers."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(text.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    return route(request, AT, port)


def passed(text: str) -> Passage:
    found = asked(text)
    assert isinstance(found, Passage)
    return found


def headers(passage: Passage) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode()) for name, value in passage.request.headers.raw_items()]


@pytest.mark.parametrize(
    ("target", "host", "port", "path", "sent_host"),
    [
        ("http://web.shop/", "web.shop", 80, "/", "web.shop"),
        ("http://web.shop", "web.shop", 80, "/", "web.shop"),
        ("HTTP://web.shop:8080/a/b?c=d", "web.shop", 8080, "/a/b?c=d", "web.shop:8080"),
        ("http://web.shop?x", "web.shop", 80, "/?x", "web.shop"),
        ("http://web.shop/a?b=http://other/", "web.shop", 80, "/a?b=http://other/", "web.shop"),
        ("http://web.shop.localhost/x", "web.shop.localhost", 80, "/x", "web.shop.localhost"),
        ("http://web.shop.localhost:9090/x", "web.shop.localhost", 9090, "/x", "web.shop.localhost:9090"),
    ],
)
def test_through_a_proxy(target: str, host: str, port: int | None, path: str, sent_host: str) -> None:
    found = passed(f"GET {target} HTTP/1.1\nHost: ignored")
    assert (found.host, found.port, found.request.target.decode()) == (host, port, path)
    assert headers(found) == [("Host", sent_host)], "RFC 9112, 3.2.2: the Host that was received is ignored"


def test_a_name_for_browsers_keeps_its_host() -> None:
    found = passed("GET /a?b HTTP/1.1\nHost: Web.Shop.localhost:1080")
    assert (found.host, found.port, found.request.target) == ("Web.Shop.localhost", None, b"/a?b")
    assert headers(found) == [("Host", "Web.Shop.localhost:1080")]


def test_options_of_the_whole_server() -> None:
    assert passed("OPTIONS http://web.shop HTTP/1.1\nHost: x").request.target == b"*"


def test_connect() -> None:
    assert asked("CONNECT web.shop:443 HTTP/1.1\nHost: web.shop:443") == Tunnel("web.shop", 443)
    with pytest.raises(Refused, match="no port"):
        asked("CONNECT web.shop HTTP/1.1\nHost: x")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1080", "127.0.0.1:1080", "[::1]:1080"])
def test_its_own_pages(host: str) -> None:
    assert asked(f"GET /proxy.pac?1 HTTP/1.1\nHost: {host}") == OwnPage("/proxy.pac", host)


def test_the_own_page_without_a_host() -> None:
    assert asked("GET / HTTP/1.0") == OwnPage("/", "localhost:1080")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:1080", "localhost.evil.example", "10.0.0.1", "web.shop"]
)
def test_another_name_for_this_machine_is_misdirected(host: str) -> None:
    """DNS rebinding: a page's own name leads to 127.0.0.1 by now."""
    with pytest.raises(Refused) as caught:
        asked(f"GET / HTTP/1.1\nHost: {host}")
    assert caught.value.why is Why.MISDIRECTED


@pytest.mark.parametrize("line", ["GET / HTTP/1.1", "GET http://web.shop/ HTTP/1.1", "GET /proxy.pac HTTP/1.1"])
def test_a_page_of_another_site_is_refused(line: str) -> None:
    with pytest.raises(Refused) as caught:
        asked(f"{line}\nHost: localhost\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: no-cors")
    assert caught.value.why is Why.DENIED
    for site in ("same-origin", "same-site", "none", "cross-site\nOrigin: http://localhost:3000"):
        asked(f"{line}\nHost: localhost\nSec-Fetch-Site: {site}")
    with pytest.raises(Refused):
        asked(f"{line}\nHost: localhost\nSec-Fetch-Site: cross-site\nOrigin: http://localhost.evil.example")


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://web.shop.localhost:1080", True),
        ("http://localhost:3000", True),
        ("http://127.0.0.1:3000", True),
        ("https://evil.example", False),
        ("https://localhost.evil.example", False),
        ("null", False),
        ("http://[", False),
    ],
)
def test_a_websocket_of_another_site_is_refused(origin: str, allowed: bool) -> None:
    request = f"GET / HTTP/1.1\nHost: web.shop.localhost\nConnection: Upgrade\nUpgrade: websocket\nOrigin: {origin}"
    if allowed:
        assert passed(request).upgrade
    else:
        with pytest.raises(Refused):
            asked(request)


@pytest.mark.parametrize("target", ["https://web.shop/", "ftp://web.shop/", "http://me:secret@web.shop/", "http:///"])
def test_what_is_no_target_for_a_proxy(target: str) -> None:
    with pytest.raises(Refused) as caught:
        asked(f"GET {target} HTTP/1.1\nHost: x")
    assert caught.value.why is Why.MALFORMED
    assert "secret" not in caught.value.sentence


def test_what_belongs_to_one_connection_is_not_sent_on() -> None:
    found = passed(
        "POST http://web.shop/ HTTP/1.1\nHost: x\nConnection: keep-alive, X-Mine, Content-Length\nKeep-Alive: 5\n"
        "Proxy-Connection: keep-alive\nProxy-Authorization: Basic eDp5\nTE: trailers\nX-Mine: 1\nX-Other: 2\n"
        "Content-Length: 3\nAccept: */*"
    )
    assert headers(found) == [("Host", "web.shop"), ("X-Other", "2"), ("Content-Length", "3"), ("Accept", "*/*")]


def test_a_body_of_unknown_length_has_no_length_beside_it() -> None:
    found = passed("POST http://web.shop/ HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\nContent-Length: 3")
    assert headers(found) == [("Host", "web.shop"), ("Transfer-Encoding", "chunked")]
    assert end_to_end([(b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked")]) == []


def test_an_upgrade_is_sent_on() -> None:
    found = passed("GET http://web.shop/ HTTP/1.1\nHost: x\nConnection: Upgrade, X\nUpgrade: websocket\nX: 1")
    assert found.upgrade
    assert headers(found)[1:] == [("Connection", "Upgrade"), ("Upgrade", "websocket")]


@pytest.mark.parametrize(
    ("method", "more", "again"),
    [
        ("GET", "", True),
        ("HEAD", "", True),
        ("OPTIONS", "", True),
        ("GET", "Content-Length: 0", True),
        ("GET", "Content-Length: 1", False),
        ("GET", "Transfer-Encoding: chunked", False),
        ("GET", "Connection: upgrade\nUpgrade: websocket", False),
        ("POST", "", False),
        ("DELETE", "", False),
    ],
)
def test_only_a_safe_request_without_a_body_may_be_sent_again(method: str, more: str, again: bool) -> None:
    assert passed(f"{method} http://web.shop/ HTTP/1.1\nHost: x{more and chr(10)}{more}").again is again


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), st.text(st.characters(max_codepoint=126))
)
def test_any_target_and_host_have_a_route_or_are_refused(target: str, host: str) -> None:
    try:
        request = h11.Request(method="GET", target=target, headers=[("Host", host)])
    except (h11.LocalProtocolError, UnicodeEncodeError):
        return
    with suppress(Refused):
        route(request, AT, 1080)


def test_a_refusal_is_a_valid_header_whatever_it_quotes() -> None:
    refused = Refused(Why.NO_SUCH_NAME, 'there is no "wéb\r\nX: y"\\')
    h11.Response(status_code=refused.why.status, headers=http_headers(refused, 3))
    ((_, status),) = [each for each in http_headers(refused, 3) if each[0] == "Proxy-Status"]
    assert status == 'kpf-supervise; error=destination_not_found; details="there is no \\"w?b X: y\\"\\\\"'


def test_the_pac_file_names_the_proxy_and_the_namespaces() -> None:
    text = pac("localhost:1080", ["shop", 'x"]; alert(1)//'])
    assert '"PROXY localhost:1080"' in text
    assert 'var namespaces = ["shop", "x\\"]; alert(1)//"];' in text


def test_a_thousand_refusals_are_told_in_a_few_lines() -> None:
    sparing = Sparing()
    told = [sparing.tell(f"no {number}", 0.1 * (number // 100)) for number in range(1000)]
    assert [each for each in told if each] == [f"no {number}" for number in range(5)]
    assert sparing.tell("no 0", 30) == ""
    assert sparing.tell("no 0", 61) == "no 0 (995 more refusals were not told)"
    assert sparing.tell("no 0", 62) == ""
