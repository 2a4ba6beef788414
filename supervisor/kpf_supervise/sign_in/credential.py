"""What a credential plugin answers, an ExecCredential, and how it is passed on. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from msgspec import Struct

GROUP = "client.authentication.k8s.io/"
_EARLY = (0.1, 5.0)  # of its life, and seconds at most, before its end: it is not given out any more
_LEAST = 1.0  # seconds for which it is given out, even if by our clock it has ended already


class BadAnswer(ValueError):
    """It is no ExecCredential that can be used. The message says why, and quotes nothing."""


class _Status(Struct, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: str | None = None


class _Answer(Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    status: _Status | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """A token, or a client certificate with its key, or both. No part of it is ever shown."""

    token: str = field(repr=False)
    certificate: str = field(repr=False)
    key: str = field(repr=False)
    given: float  # seconds since the epoch
    expires: float | None  # seconds since the epoch; None: never
    until: str | None  # the same as the plugin wrote it

    def lasts(self, now: float) -> bool:
        """Whether it may be given out now: shortly before its end it is not worth it."""
        if self.expires is None:
            return True
        share, most = _EARLY
        end = self.expires - min(most, share * max(0.0, self.expires - self.given))
        return self.given <= now < max(end, self.given + _LEAST)

    def ended(self, now: float) -> bool:
        """Whether whoever has it needs another one."""
        return self.expires is not None and now >= self.expires

    def document(self, version: str) -> bytes:
        """As an ExecCredential of this apiVersion, as kubectl reads it from a plugin."""
        status = {
            "token": self.token,
            "clientCertificateData": self.certificate,
            "clientKeyData": self.key,
            "expirationTimestamp": self.until,
        }
        given = {name: value for name, value in status.items() if value}
        return json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": given}).encode()


def read_credential(answer: bytes, version: str, now: float) -> Credential:
    """The credential in a plugin's output. `version` is the apiVersion that it was asked for. Raises BadAnswer."""
    try:
        found = msgspec.json.decode(answer, type=_Answer)
    except (ValueError, RecursionError):
        raise BadAnswer("it printed no ExecCredential in JSON") from None
    if found.kind != "ExecCredential" or not found.api_version.startswith(GROUP):
        raise BadAnswer("it printed JSON that is no ExecCredential")
    if found.api_version != version:
        wanted = version.removeprefix(GROUP)
        raise BadAnswer(f"it printed an ExecCredential of another version than {wanted}, which the kubeconfig names")
    status = found.status or _Status()
    if bool(status.client_certificate_data) != bool(status.client_key_data):
        raise BadAnswer("it gave a client certificate without its key, or a key without its certificate")
    if not status.token and not status.client_key_data:
        raise BadAnswer("it gave neither a token nor a client certificate")
    expires = None
    if status.expiration_timestamp:
        try:
            time = datetime.fromisoformat(status.expiration_timestamp)
        except ValueError:
            time = datetime.min
        if time.tzinfo is None:
            raise BadAnswer("its expirationTimestamp is no time of RFC 3339")
        expires = time.timestamp()
    return Credential(
        token=status.token,
        certificate=status.client_certificate_data,
        key=status.client_key_data,
        given=now,
        expires=expires,
        until=status.expiration_timestamp or None,
    )
