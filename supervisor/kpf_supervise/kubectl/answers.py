"""What kubectl itself prints as JSON (its kubeconfig, its version), and the check of all JSON input. Pure."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct


class Malformed(ValueError):
    """The data does not have the expected form; the message says why."""


class ContextFacts(Struct):
    cluster: str = ""
    user: str = ""
    namespace: str = ""


class NamedContext(Struct):
    name: str
    context: ContextFacts | None = None


class ClusterFacts(Struct):
    server: str = ""
    proxy_url: str = msgspec.field(default="", name="proxy-url")


class NamedCluster(Struct):
    name: str
    cluster: ClusterFacts | None = None


class NamedUser(Struct):
    name: str
    user: dict[str, Any] | None = None


class KubeConfig(Struct):
    """The output of `kubectl config view`: all files of $KUBECONFIG merged, without credentials."""

    current_context: str = msgspec.field(default="", name="current-context")
    contexts: list[NamedContext] | None = None
    clusters: list[NamedCluster] | None = None
    users: list[NamedUser] | None = None


class WholeCluster(Struct):
    cluster: dict[str, Any] | None = None


class RawKubeConfig(Struct):
    """The output of `kubectl config view --raw --flatten --minify`: one context, with what is secret in it."""

    clusters: list[WholeCluster] | None = None


class Version(Struct, rename="camel"):
    """Of kubectl, or of an API server at /version."""

    git_version: str


class VersionInfo(Struct, rename="camel"):
    """The output of `kubectl version --client`."""

    client_version: Version


Wanted = TypeVar("Wanted")


def decode(data: bytes | Raw, wanted: type[Wanted]) -> Wanted:
    """Decode the JSON value in `data`. Raises Malformed."""
    try:
        return msgspec.json.decode(data, type=wanted)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no {wanted.__name__}: {error}") from None
