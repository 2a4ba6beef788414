"""A TLS front for the sandbox cluster: over plain http, kubectl sends no credentials and runs no exec plugin."""

from __future__ import annotations

import json
import ssl
import stat
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import trio
import trustme

from kpf_supervise.sandbox import Cluster

HOST = "127.0.0.1"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

Certificate = Literal["good", "expired", "other-host"]


@dataclass(frozen=True)
class Front:
    """The address at which kubectl reaches the cluster, and the CA of its certificate."""

    url: str
    authority: str  # base64 of the PEM

    def context(self, user: dict[str, Any], **cluster: Any) -> Context:
        """A context for `write_kubeconfig`, with this user's credentials. `cluster` adds or replaces keys of the
        kubeconfig's cluster; None removes a key."""
        return user, {"server": self.url, "certificate-authority-data": self.authority} | cluster


Context = tuple[dict[str, Any], dict[str, Any]]  # user and cluster of a kubeconfig


def write_kubeconfig(file: Path, **contexts: Context) -> Path:
    """Write a kubeconfig with these contexts, all in the namespace dev; the first is the current one."""
    clusters = {name: {k: v for k, v in cluster.items() if v is not None} for name, (_, cluster) in contexts.items()}
    words = {name: {"cluster": name, "user": name, "namespace": "dev"} for name in contexts}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": next(iter(contexts)),
        "contexts": [{"name": name, "context": words[name]} for name in contexts],
        "clusters": [{"name": name, "cluster": clusters[name]} for name in contexts],
        "users": [{"name": name, "user": user} for name, (user, _) in contexts.items()],
    }
    file.write_text(json.dumps(config))
    return file


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


@asynccontextmanager
async def open_front(cluster: Cluster, certificate: Certificate = "good") -> AsyncIterator[Front]:
    """Run a TLS listener that relays to the cluster during the block."""
    authority = trustme.CA()
    host = "other.invalid" if certificate == "other-host" else HOST
    issued = authority.issue_cert(host, not_after=LONG_AGO if certificate == "expired" else None)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(context)

    async def relay(secure: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            async with secure, await trio.open_tcp_stream(HOST, cluster.port) as plain, trio.open_nursery() as nursery:

                async def copy(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
                    async for chunk in source:
                        await sink.send_all(chunk)
                    nursery.cancel_scope.cancel()

                nursery.start_soon(copy, secure, plain)
                nursery.start_soon(copy, plain, secure)
        except* (OSError, trio.BrokenResourceError):
            pass  # either side is gone, or kubectl does not trust the certificate

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        nursery.start_soon(trio.serve_listeners, relay, [trio.SSLListener(listener, context, https_compatible=True)])
        url = f"https://{HOST}:{listener.socket.getsockname()[1]}"
        yield Front(url, b64encode(authority.cert_pem.bytes()).decode())
        nursery.cancel_scope.cancel()
