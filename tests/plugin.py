"""Credential plugins that are a shell script of a test's own."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any


def plugin(file: Path, script: str, **more: Any) -> dict[str, Any]:
    """A user whose credentials come from a shell script with this body (client.authentication.k8s.io/v1beta1)."""
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    facts = {"apiVersion": "client.authentication.k8s.io/v1beta1", "interactiveMode": "IfAvailable"}
    return {"exec": {**facts, "command": str(file), **more}}


def credential(token: str) -> str:
    """The output of a plugin that has logged in."""
    return json.dumps(
        {"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential", "status": {"token": token}}
    )


def expired_credential(token: str) -> str:
    """The same, with a credential that has expired: kubectl runs the plugin for each request."""
    return credential(token).replace('"token"', '"expirationTimestamp": "2020-01-01T00:00:00Z", "token"')
