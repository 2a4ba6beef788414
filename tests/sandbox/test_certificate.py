"""The certificate that the sandbox makes, to OpenSSL at its strictest. (To kubectl: all other tests here.)"""

from __future__ import annotations

import ssl
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from kpf_supervise.sandbox import certificate


def shake_hands(own: certificate.Certificate, trusted: certificate.Certificate, host: str) -> str | None:
    """Connect a client that trusts one certificate to a server that has the other; the protocol they agree on."""
    client = ssl.create_default_context(cadata=trusted.text)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.set_alpn_protocols(["h2"])
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(back, there, server_hostname=host)
    answering = own.server_context("h2", "http/1.1").wrap_bio(there, back, server_side=True)
    for end in (asking, answering, asking, answering):
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    return asking.selected_alpn_protocol()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "sandbox.invalid"])
def test_it_is_good_for_its_host(host: str) -> None:
    for _ in range(5):  # each has another key, serial number and signature
        own = certificate.make(host)
        assert shake_hands(own, own, host) == "h2"


def test_it_is_no_good_for_another_host_nor_after_its_end_nor_in_place_of_another() -> None:
    own, other = certificate.make("127.0.0.1"), certificate.make("127.0.0.1")
    past = certificate.make("127.0.0.1", datetime(2020, 6, 1, tzinfo=UTC))
    for server, trusted, host, why in [
        (own, own, "127.0.0.2", "IP address mismatch"),
        (past, past, "127.0.0.1", "certificate has expired"),
        (own, other, "127.0.0.1", "certificate verify failed"),
    ]:
        with pytest.raises(ssl.SSLCertVerificationError, match=why):
            shake_hands(server, trusted, host)
