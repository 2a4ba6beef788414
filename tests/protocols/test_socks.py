"""SOCKS5, byte by byte. The requests are those of RFC 1928."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpf_supervise.protocols.refusal import Refused, Why
from kpf_supervise.protocols.socks import Greeting, refusal

HELLO = b"\x05\x01\x00"
WEB = b"\x05\x01\x00\x03\x08web.shop\x00\x50"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_a_name_in_pieces_of_any_size_and_what_follows_it(size: int) -> None:
    greeting, said, data = Greeting(), b"", HELLO + WEB
    for at in range(0, len(data), size):
        said += greeting.receive(data[at : at + size])
    assert greeting.done
    assert (said, greeting.host, greeting.port, greeting.rest) == (b"\x05\x00", "web.shop", 80, b"")
    eager = Greeting()
    assert eager.receive(HELLO + WEB + b"GET /") == b"\x05\x00"
    assert eager.rest == b"GET /"


def test_one_of_several_ways_to_authenticate_is_none() -> None:
    assert Greeting().receive(b"\x05\x03\x02\x01\x00") == b"\x05\x00"


def test_addresses_are_read_as_text() -> None:
    four, six = Greeting(), Greeting()
    four.receive(HELLO + b"\x05\x01\x00\x01\x0a\x60\x00\x0a\x00\x50")
    six.receive(HELLO + b"\x05\x01\x00\x04" + bytes(15) + b"\x01\x01\xbb")
    assert (four.host, four.port, six.host, six.port) == ("10.96.0.10", 80, "::1", 443)


@pytest.mark.parametrize(
    ("data", "why", "last"),
    [
        (b"\x05\x01\x02", Why.DENIED, b"\x05\xff"),
        (b"\x05\x00", Why.DENIED, b"\x05\xff"),
        (HELLO + b"\x05\x02\x00\x03\x08web.shop\x00\x50", Why.COMMAND, b"\x05\x07"),
        (HELLO + b"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x35", Why.COMMAND, b"\x05\x07"),
        (HELLO + b"\x05\x01\x00\x02\x08web.shop\x00\x50", Why.ADDRESS, b"\x05\x08"),
        (HELLO + b"GET / HTTP/1.1", Why.MALFORMED, b"\x05\x01"),
    ],
)
def test_what_is_refused_gets_the_reply_for_it(data: bytes, why: Why, last: bytes) -> None:
    with pytest.raises(Refused) as caught:
        Greeting().receive(data)
    assert caught.value.why is why
    assert refusal(caught.value).startswith(last)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20))
def test_any_bytes_are_read_or_refused(pieces: list[bytes]) -> None:
    greeting = Greeting()
    try:
        for piece in [HELLO, *pieces]:
            if greeting.done:
                break
            greeting.receive(piece)
    except Refused:
        return
    if greeting.done:
        assert greeting.host.isascii()
        assert 0 <= greeting.port < 65536
