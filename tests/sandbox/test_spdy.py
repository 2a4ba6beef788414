"""The SPDY/3.1 codec: what kubectl sends is read as it was meant, however it is cut."""

from __future__ import annotations

import zlib

import pytest

from kpf_supervise.sandbox import spdy

# What real kubectls sent over SPDY for `GET /healthz` and then a connection that the client closed (`GET /`).
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
AGAIN = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
KUBECTL_1_20 = bytes.fromhex(
    "800300010000003e0000000100000000000078f9e3c6a7c202253a060606ce2248fc6482d22da30138e59514a526e6420b17d65450d0430a"
    "ea22709eb030b03000000000ffff0000000101000000800300010000001c00000003000000000000826a46550a2a8712b1a844b302000000"
    "ffff0000000300000035474554202f6865616c74687a20485454502f312e310d0a486f73743a20780d0a436f6e6e656374696f6e3a20636c"
    "6f73650d0a0d0a0000000301000000800300010000001800000005000000000000c2aa17a735a89a0d01000000ffff000000050100000080"
    "0300010000001600000007000000000000c2ea6a43e29c02000000ffff000000070000001b474554202f20485454502f312e310d0a486f73"
    "743a20780d0a0d0a0000000701000000"
)
KUBECTL_1_33 = bytes.fromhex(
    "800300010000003e0000000100000000000078f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45e01c60616061c0c0c0c059"
    "0489c64c50f2663400000000ffff0000000101000000800300010000001800000003000000000000c2aa19540e2512d60b000000ffff0000"
    "000300000035474554202f6865616c74687a20485454502f312e310d0a486f73743a20780d0a436f6e6e656374696f6e3a20636c6f73650d"
    "0a0d0a8003000300000008000000030000000580030001000000180000000500000000000082ea45153524d22900000000ffff0000000501"
    "00000080030001000000150000000700000000000022523356a700000000ffff000000070000001b474554202f20485454502f312e310d0a"
    "486f73743a20780d0a0d0a0000000701000000"
)


def stream(id: int, kind: str, request: int) -> spdy.SynStream:
    return spdy.SynStream(id, {"port": "8080", "requestid": str(request), "streamtype": kind})


def test_the_dictionary_is_the_drafts() -> None:
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2


def test_a_session_of_kubectl_1_20() -> None:
    assert spdy.Connection().receive(KUBECTL_1_20) == [
        stream(1, "error", 0),
        spdy.Data(1, b"", fin=True),
        stream(3, "data", 0),
        spdy.Data(3, REQUEST),
        spdy.Data(3, b"", fin=True),
        stream(5, "error", 1),
        spdy.Data(5, b"", fin=True),
        stream(7, "data", 1),
        spdy.Data(7, AGAIN),
        spdy.Data(7, b"", fin=True),
    ]


def test_a_session_of_kubectl_1_33() -> None:
    """It resets the data stream of a connection that the pod has closed."""
    assert spdy.Connection().receive(KUBECTL_1_33) == [
        stream(1, "error", 0),
        spdy.Data(1, b"", fin=True),
        stream(3, "data", 0),
        spdy.Data(3, REQUEST),
        spdy.RstStream(3, status=5),
        stream(5, "error", 1),
        spdy.Data(5, b"", fin=True),
        stream(7, "data", 1),
        spdy.Data(7, AGAIN),
        spdy.Data(7, b"", fin=True),
    ]


def joined(events: list[spdy.Event]) -> list[spdy.Event]:
    """Pieces of one DATA frame put together again."""
    whole: list[spdy.Event] = []
    for event in events:
        before = whole[-1] if whole else None
        both_data = isinstance(event, spdy.Data) and isinstance(before, spdy.Data)
        if both_data and before.stream == event.stream and not before.fin and event.data:  # type: ignore[union-attr]
            whole[-1] = spdy.Data(event.stream, before.data + event.data, event.fin)  # type: ignore[union-attr]
        else:
            whole.append(event)
    return whole


@pytest.mark.parametrize("session", [KUBECTL_1_20, KUBECTL_1_33], ids=["1.20", "1.33"])
def test_the_cuts_mean_nothing(session: bytes) -> None:
    whole = spdy.Connection().receive(session)
    for at in range(len(session) + 1):
        connection = spdy.Connection()
        assert joined(connection.receive(session[:at]) + connection.receive(session[at:])) == whole, at
    connection = spdy.Connection()
    assert joined([event for byte in session for event in connection.receive(bytes([byte]))]) == whole


def test_each_frame_survives_the_way() -> None:
    here, there = spdy.Connection(), spdy.Connection()
    headers = {"streamtype": "data", "port": "5432", "requestid": "17"}
    sent = [
        (here.syn_stream(5, headers, fin=True), spdy.SynStream(5, headers, fin=True)),
        (here.syn_reply(5, {}), spdy.SynReply(5, {})),
        (here.syn_reply(7, {"a": "é"}), spdy.SynReply(7, {"a": "é"})),
        (spdy.data(5, b"bytes"), spdy.Data(5, b"bytes")),
        (spdy.data(5, b"", fin=True), spdy.Data(5, b"", fin=True)),
        (spdy.rst_stream(5, 3), spdy.RstStream(5, 3)),
        (spdy.settings({4: 100, 7: 65536}), spdy.Settings({4: 100, 7: 65536})),
        (spdy.ping(9), spdy.Ping(9)),
        (spdy.goaway(11, 2), spdy.GoAway(11, 2)),
        (spdy.window_update(5, 1 << 20), spdy.WindowUpdate(5, 1 << 20)),
    ]
    assert there.receive(b"".join(frame for frame, _ in sent)) == [event for _, event in sent]


def test_the_largest_data_frame() -> None:
    payload = bytes(spdy.MAX_DATA)
    assert spdy.Connection().receive(spdy.data(1, payload)) == [spdy.Data(1, payload)]


@pytest.mark.parametrize(
    "bytes_",
    [
        b"HTTP/1.1 200 OK\r\n\r\n".replace(b"HTTP", b"\x80\x02\x00\x01"),
        b"\x80\x03\x00\x01\x00\x00\x00\x02\x00\x00",
        b"\x80\x03\x00\x02\x00\x00\x00\x08\x00\x00\x00\x01nope",
    ],
    ids=["another version", "too short", "not zlib"],
)
def test_what_is_not_spdy_is_an_error(bytes_: bytes) -> None:
    with pytest.raises(spdy.ProtocolError):
        spdy.Connection().receive(bytes_)


def test_an_unknown_frame_is_skipped() -> None:
    unknown = b"\x80\x03\x00\x63\x00\x00\x00\x02hi"
    assert spdy.Connection().receive(unknown + spdy.ping(1)) == [spdy.Ping(1)]
