"""What a plugin may answer, and what our kubectls are told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kpf_supervise.sign_in.credential import BadAnswer, Credential, read_credential

V1 = "client.authentication.k8s.io/v1"
V1BETA1 = "client.authentication.k8s.io/v1beta1"
SECRET = "Gehe1m"


def answer(version: str = V1, kind: str = "ExecCredential", **status: Any) -> bytes:
    return json.dumps({"apiVersion": version, "kind": kind, "status": status}).encode()


def read(data: bytes) -> Credential:
    return read_credential(data, V1, 1000.0)


def test_a_token_and_a_certificate_are_passed_on_in_the_version_that_is_asked_for() -> None:
    facts = {
        "token": SECRET,
        "clientCertificateData": "cert",
        "clientKeyData": "key",
        "expirationTimestamp": "2030-01-02T03:04:05+02:00",
    }
    found = read(answer(**facts))
    assert json.loads(found.document(V1BETA1)) == {"apiVersion": V1BETA1, "kind": "ExecCredential", "status": facts}
    assert SECRET not in repr(found)


@pytest.mark.parametrize("until", ["1970-01-01T00:33:20Z", "1970-01-01T01:33:20+01:00", "1970-01-01T00:33:20.5Z"])
def test_it_is_given_out_until_shortly_before_its_end(until: str) -> None:
    found = read(answer(token=SECRET, expirationTimestamp=until))
    assert (found.lasts(1994.9), found.lasts(1996)) == (True, False)
    assert (found.ended(1999.9), found.ended(2001)) == (False, True)


def test_one_without_an_end_lasts() -> None:
    found = read(answer(token=SECRET))
    assert (found.lasts(1e12), found.ended(1e12)) == (True, False)


def test_one_that_has_ended_by_our_clock_is_used_for_a_moment() -> None:
    """Clocks differ, and kubectl would use it, too."""
    found = read(answer(token=SECRET, expirationTimestamp="1970-01-01T00:10:00Z"))
    assert (found.lasts(1000.5), found.lasts(1001.5), found.ended(1000.5)) == (True, False, True)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no ExecCredential in JSON"),
        (SECRET.encode(), "no ExecCredential in JSON"),
        (b"[" * 100_000, "no ExecCredential in JSON"),
        (b'{"apiVersion": 1, "token": "Gehe1m"}', "no ExecCredential in JSON"),
        (answer(kind="Config", token=SECRET), "no ExecCredential"),
        (answer(version="v1", token=SECRET), "no ExecCredential"),
        (answer(version=V1BETA1, token=SECRET), "another version than v1,"),
        (answer(), "neither a token nor a client certificate"),
        (answer(clientCertificateData=SECRET), "without its key"),
        (answer(token=SECRET, clientKeyData=SECRET), "without its certificate"),
        (answer(token=SECRET, expirationTimestamp=SECRET), "no time of RFC 3339"),
        (answer(token=SECRET, expirationTimestamp="2030-01-02T03:04:05"), "no time of RFC 3339"),
    ],
)
def test_what_is_no_credential_is_told_without_quoting_it(data: bytes, why: str) -> None:
    with pytest.raises(BadAnswer) as raised:
        read(data)
    assert why in str(raised.value)
    assert SECRET not in str(raised.value)
