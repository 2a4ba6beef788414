"""SPDY/3.1 frames, sans-IO: bytes in, events out; one method for each frame that can be sent.

Source: the SPDY/3.1 draft, as far as `kubectl port-forward` uses it (moby/spdystream). There is no flow control:
kubectl neither sends nor honors WINDOW_UPDATE. Header blocks are compressed with one zlib context per direction, so
frames with headers must be written in the order in which they were made.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

CONTROL = 0x8003  # the start of each control frame: the control bit and version 3
FIN = 0x01
MAX_DATA = 2**24 - 1  # bytes of payload in one frame

# The zlib dictionary of SPDY/3 (draft, 2.6.10.1): length-prefixed words, then text.
WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _prefixed(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">I", len(raw)) + raw


DICTIONARY = b"".join(_prefixed(word.replace("_", " ")) for word in WORDS.split()) + TEXT.encode()


class ProtocolError(Exception):
    """The peer sent something that is not SPDY/3.1. The session can't continue."""


class Type(IntEnum):
    """The control frames."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


@dataclass(frozen=True, slots=True)
class SynStream:
    stream: int
    headers: Mapping[str, str]
    fin: bool = False


@dataclass(frozen=True, slots=True)
class SynReply:
    stream: int
    headers: Mapping[str, str]
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Headers:
    stream: int
    headers: Mapping[str, str]
    fin: bool = False


@dataclass(frozen=True, slots=True)
class RstStream:
    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class Data:
    """Part of a DATA frame. A frame received in pieces gives one event per piece, with `fin` on the last."""

    stream: int
    data: bytes
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    values: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Ping:
    id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    last_stream: int
    status: int


@dataclass(frozen=True, slots=True)
class WindowUpdate:
    stream: int
    delta: int


Event = SynStream | SynReply | Headers | RstStream | Data | Settings | Ping | GoAway | WindowUpdate


class Connection:
    """One end of a session. Both ends work the same; the client's stream ids are odd."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._rest = b""  # the start of an incomplete frame
        self._data_left = 0  # bytes missing from the DATA frame being received
        self._data_stream = 0
        self._data_fin = False

    def receive(self, chunk: bytes) -> list[Event]:
        """Process bytes from the peer. Raises ProtocolError."""
        if self._rest:
            chunk = self._rest + chunk
        events: list[Event] = []
        at = 0
        while at < len(chunk):
            if self._data_left:
                piece = chunk[at : at + self._data_left]
                at += len(piece)
                self._data_left -= len(piece)
                events.append(Data(self._data_stream, piece, self._data_fin and not self._data_left))
                continue
            if len(chunk) - at < 8:
                break
            first, second = struct.unpack_from(">II", chunk, at)
            flags, length = second >> 24, second & 0xFFFFFF
            if first >> 31:
                if first >> 16 != CONTROL:
                    raise ProtocolError(f"not a SPDY/3 frame: {first:#010x}")
                if len(chunk) - at - 8 < length:
                    break
                event = self._control(first, flags, chunk[at + 8 : at + 8 + length])
                if event is not None:
                    events.append(event)
                at += 8 + length
                continue
            at += 8
            self._data_stream, self._data_left, self._data_fin = first, length, bool(flags & FIN)
            if not length:
                events.append(Data(first, b"", self._data_fin))
        self._rest = chunk[at:]
        return events

    def _control(self, first: int, flags: int, body: bytes) -> Event | None:
        """Parse one whole control frame. Returns None for a type that SPDY says to skip."""
        fin = bool(flags & FIN)
        try:
            match first & 0xFFFF:
                case Type.SYN_STREAM:
                    return SynStream(_id(body), self._decompress(body[10:]), fin)
                case Type.SYN_REPLY:
                    return SynReply(_id(body), self._decompress(body[4:]), fin)
                case Type.HEADERS:
                    return Headers(_id(body), self._decompress(body[4:]), fin)
                case Type.RST_STREAM:
                    return RstStream(_id(body), _word(body, 4))
                case Type.SETTINGS:
                    at = range(4, 4 + 8 * _word(body), 8)
                    return Settings({_word(body, i) & 0xFFFFFF: _word(body, i + 4) for i in at})
                case Type.PING:
                    return Ping(_word(body))
                case Type.GOAWAY:
                    return GoAway(_id(body), _word(body, 4))
                case Type.WINDOW_UPDATE:
                    return WindowUpdate(_id(body), _word(body, 4) & 0x7FFFFFFF)
        except (struct.error, zlib.error, UnicodeDecodeError) as error:
            raise ProtocolError(f"malformed frame of type {first & 0xFFFF}: {error}") from error
        return None

    def _decompress(self, block: bytes) -> dict[str, str]:
        plain = self._inflate.decompress(block)
        headers, at = {}, 4
        for _ in range(_word(plain)):
            texts = []
            for _ in range(2):
                size = _word(plain, at)
                texts.append(plain[at + 4 : at + 4 + size].decode())
                at += 4 + size
            headers[texts[0]] = texts[1]
        return headers

    def _compress(self, headers: Mapping[str, str]) -> bytes:
        plain = struct.pack(">I", len(headers)) + b"".join(_prefixed(k) + _prefixed(v) for k, v in headers.items())
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def syn_stream(self, stream: int, headers: Mapping[str, str], fin: bool = False) -> bytes:
        body = struct.pack(">IIH", stream, 0, 0) + self._compress(headers)
        return _frame(Type.SYN_STREAM, body, FIN * fin)

    def syn_reply(self, stream: int, headers: Mapping[str, str], fin: bool = False) -> bytes:
        return _frame(Type.SYN_REPLY, struct.pack(">I", stream) + self._compress(headers), FIN * fin)


def data_head(stream: int, size: int, fin: bool = False) -> bytes:
    """The eight bytes before a DATA frame's payload of `size` bytes (at most MAX_DATA)."""
    return struct.pack(">II", stream, FIN * fin << 24 | size)


def data(stream: int, payload: bytes, fin: bool = False) -> bytes:
    return data_head(stream, len(payload), fin) + payload


def rst_stream(stream: int, status: int) -> bytes:
    return _frame(Type.RST_STREAM, struct.pack(">II", stream, status))


def settings(values: Mapping[int, int]) -> bytes:
    entries = b"".join(struct.pack(">II", key, value) for key, value in values.items())
    return _frame(Type.SETTINGS, struct.pack(">I", len(values)) + entries)


def ping(id: int) -> bytes:
    return _frame(Type.PING, struct.pack(">I", id))


def goaway(last_stream: int, status: int = 0) -> bytes:
    return _frame(Type.GOAWAY, struct.pack(">II", last_stream, status))


def window_update(stream: int, delta: int) -> bytes:
    return _frame(Type.WINDOW_UPDATE, struct.pack(">II", stream, delta))


def _frame(type: Type, body: bytes, flags: int = 0) -> bytes:
    return struct.pack(">HHI", CONTROL, type, flags << 24 | len(body)) + body


def _word(body: bytes, at: int = 0) -> int:
    value: int = struct.unpack_from(">I", body, at)[0]
    return value


def _id(body: bytes) -> int:
    return _word(body) & 0x7FFFFFFF
