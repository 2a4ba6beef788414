"""A self-signed TLS certificate, made with the standard library alone: ECDSA on the curve P-256, X.509 in DER.

It is for a sandbox on loopback. The arithmetic takes no care against those who measure its time.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import ssl
import tempfile
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from textwrap import wrap

# The curve P-256 (FIPS 186-4, D.1.2.3): y² = x³ - 3x + b over the field of P, a base point of order N.
P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
BASE = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
Point = tuple[int, int]

INTEGER, BITS, OCTETS, OID, TEXT, TIME, SEQUENCE, SET = 0x02, 0x03, 0x04, 0x06, 0x0C, 0x18, 0x30, 0x31
EC_PUBLIC_KEY = bytes.fromhex("2a8648ce3d0201")
PRIME256V1 = bytes.fromhex("2a8648ce3d030107")
ECDSA_WITH_SHA256 = bytes.fromhex("2a8648ce3d040302")
COMMON_NAME = bytes.fromhex("550403")
SUBJECT_KEY, KEY_USAGE, ALTERNATIVE_NAME, CONSTRAINTS = (bytes([0x55, 0x1D, last]) for last in (14, 15, 17, 19))
TRUE = bytes.fromhex("0101ff")
SIGNS = bytes.fromhex("03020284")  # key usage: digitalSignature, keyCertSign
LIFETIME = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that is its own authority, with its key. Both are PEM."""

    text: str
    key: str

    @property
    def authority(self) -> str:
        """The value of `certificate-authority-data` in a kubeconfig."""
        return b64encode(self.text.encode()).decode()

    def server_context(self, *protocols: str) -> ssl.SSLContext:
        """For a server that speaks these protocols (ALPN), the first one preferred."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile("w") as file:  # readable by its owner only; ssl takes no text here
            file.write(self.key + self.text)
            file.flush()
            context.load_cert_chain(file.name)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context


def make(host: str, not_after: datetime | None = None) -> Certificate:
    """A certificate for a name or an address, valid from long ago until `not_after` (None: for a year)."""
    private = 1 + secrets.randbelow(N - 1)
    x, y = _times(private, BASE)
    public = b"\4" + x.to_bytes(32, "big") + y.to_bytes(32, "big")
    curve = _der(OID, PRIME256V1)
    algorithm = _der(SEQUENCE, _der(OID, ECDSA_WITH_SHA256))
    name = _der(SEQUENCE, _der(SET, _der(SEQUENCE, _der(OID, COMMON_NAME), _der(TEXT, b"kpf-supervise sandbox"))))
    times = (datetime(2020, 1, 1, tzinfo=UTC), not_after or datetime.now(UTC) + LIFETIME)
    body = _der(
        SEQUENCE,
        _der(0xA0, _integer(2)),  # version 3
        _integer(1 + secrets.randbits(63)),
        algorithm,
        name,
        _der(SEQUENCE, *(_der(TIME, f"{time:%Y%m%d%H%M%S}Z".encode()) for time in times)),
        name,
        _der(SEQUENCE, _der(SEQUENCE, _der(OID, EC_PUBLIC_KEY), curve), _der(BITS, b"\0", public)),
        _der(0xA3, _der(SEQUENCE, *_extensions(host, public))),
    )
    signed = _der(SEQUENCE, body, algorithm, _der(BITS, b"\0", _signature(private, body)))
    key = _der(
        SEQUENCE,
        _integer(1),
        _der(OCTETS, private.to_bytes(32, "big")),
        _der(0xA0, curve),
        _der(0xA1, _der(BITS, b"\0", public)),
    )
    return Certificate(_pem("CERTIFICATE", signed), _pem("EC PRIVATE KEY", key))


def _extensions(host: str, public: bytes) -> list[bytes]:
    try:
        alternative = _der(0x87, ipaddress.ip_address(host).packed)
    except ValueError:
        alternative = _der(0x82, host.encode())
    return [
        _der(SEQUENCE, _der(OID, CONSTRAINTS), TRUE, _der(OCTETS, _der(SEQUENCE, TRUE))),  # it is an authority
        _der(SEQUENCE, _der(OID, KEY_USAGE), TRUE, _der(OCTETS, SIGNS)),
        _der(SEQUENCE, _der(OID, SUBJECT_KEY), _der(OCTETS, _der(OCTETS, hashlib.sha1(public).digest()))),
        _der(SEQUENCE, _der(OID, ALTERNATIVE_NAME), _der(OCTETS, _der(SEQUENCE, alternative))),
    ]


def _signature(private: int, data: bytes) -> bytes:
    digest = int.from_bytes(hashlib.sha256(data).digest(), "big")
    nonce = 1 + secrets.randbelow(N - 1)
    r = _times(nonce, BASE)[0] % N
    s = pow(nonce, -1, N) * (digest + r * private) % N
    return _der(SEQUENCE, _integer(r), _integer(s))


def _times(factor: int, point: Point) -> Point:
    result: Point | None = None
    while factor:
        if factor & 1:
            result = point if result is None else _sum(result, point)
        point, factor = _sum(point, point), factor >> 1
    assert result is not None
    return result


def _sum(one: Point, other: Point) -> Point:
    """Of two points that are equal, or differ in x."""
    (x1, y1), (x2, y2) = one, other
    slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, P) if one == other else (y2 - y1) * pow(x2 - x1, -1, P)
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def _integer(number: int) -> bytes:
    return _der(INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _pem(label: str, data: bytes) -> str:
    lines = "\n".join(wrap(b64encode(data).decode(), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"
