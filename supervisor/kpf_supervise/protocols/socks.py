"""The server's side of SOCKS5 (RFC 1928): names, no authentication, CONNECT only. Pure: bytes in, bytes out.

The one sans-IO parser on PyPI, socksio, has had no release since 2020, and would accept what we refuse.
"""

from __future__ import annotations

from ipaddress import ip_address

from kpf_supervise.protocols.refusal import Refused, Why

VERSION = 5
FIRST = bytes((VERSION,))  # byte of a client of SOCKS5
OLD_FIRST = b"\x04"  # and of SOCKS4
_NO_AUTHENTICATION = 0
_NONE_ACCEPTABLE = b"\x05\xff"
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_SIZES = {_IPV4: 4, _IPV6: 16}
SUCCEEDED = 0
OLD_REFUSED = b"\x00\x5b\x00\x00\x00\x00\x00\x00"  # of SOCKS4: rejected or failed


def reply(code: int) -> bytes:
    """The answer to a request. The address that a server is bound to is of no use to a client: it is all zeros."""
    return bytes((VERSION, code, 0, _IPV4, 0, 0, 0, 0, 0, 0))


class NoneAcceptable(Refused):
    """None of the client's ways to authenticate."""

    def __init__(self) -> None:
        super().__init__(
            Why.DENIED, "the SOCKS5 client wants to authenticate, and there is nothing to authenticate to."
        )


class Greeting:
    """A conversation from its first byte to the client's request."""

    def __init__(self) -> None:
        self.host, self.port = "", 0  # that the client wants; known once `done`
        self.done = False
        self.rest = b""  # what the client sent after its request
        self._data = bytearray()
        self._greeted = False

    def receive(self, data: bytes) -> bytes:
        """Take what the client has sent; returns what is to be sent to it. Raises Refused: then `refusal` is to be
        sent."""
        self._data += data
        answer = b""
        if not self._greeted and len(self._data) >= 2 and len(self._data) >= 2 + self._data[1]:
            methods = self._data[2 : 2 + self._data[1]]
            del self._data[: 2 + len(methods)]
            if _NO_AUTHENTICATION not in methods:
                raise NoneAcceptable()
            self._greeted = True
            answer = bytes((VERSION, _NO_AUTHENTICATION))
        if self._greeted and not self.done:
            self._request()
        return answer

    def _request(self) -> None:
        data = self._data
        if len(data) < 5:
            return
        version, command, _, kind, first = data[:5]
        if version != VERSION:
            raise Refused(Why.MALFORMED, "the client's SOCKS5 request does not begin with version 5.")
        if command != _CONNECT:
            raise Refused(Why.COMMAND, "SOCKS5 without CONNECT: UDP and listening can't be forwarded.")
        size = first if kind == _NAME else _SIZES.get(kind)
        if size is None:
            raise Refused(Why.ADDRESS, "the client's SOCKS5 request has an address of an unknown kind.")
        begin = 5 if kind == _NAME else 4
        end = begin + size
        if len(data) < end + 2:
            return
        address = bytes(data[begin:end])
        # a name is compared with names of the cluster, which are ASCII; other bytes stay visible in the refusal
        self.host = address.decode("ascii", "backslashreplace") if kind == _NAME else str(ip_address(address))
        self.port = int.from_bytes(data[end : end + 2], "big")
        self.rest = bytes(data[end + 2 :])
        self.done = True


def refusal(refused: Refused) -> bytes:
    """The last bytes to a client that is refused."""
    return _NONE_ACCEPTABLE if isinstance(refused, NoneAcceptable) else reply(refused.why.reply)
