"""What a user may do, asked as `kubectl auth can-i` does: with a SelfSubjectAccessReview. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct

from kpf_supervise.kubectl.answers import decode
from kpf_supervise.model import Cause, Problem, Target


class Right(NamedTuple):
    """`resource` as in a role: pods/portforward."""

    verb: str
    resource: str
    group: str = ""
    name: str = ""  # of one object; empty: of any

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


class _Status(Struct):
    allowed: bool = False


class _Review(Struct):
    status: _Status


def review(right: Right, namespace: str) -> bytes:
    """The question as JSON. An empty namespace is all of them."""
    resource, _, subresource = right.resource.partition("/")
    asked = {
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "name": right.name,
        "namespace": namespace,
    }
    given = {key: value for key, value in asked.items() if value or key == "namespace"}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": given},
    }
    return json.dumps(body).encode()


def read_review(data: bytes) -> bool:
    """Whether it is allowed. Raises Malformed."""
    return decode(data, _Review).status.allowed


OF_PODS = tuple(
    Right(verb, resource)
    for resource, verbs in {"pods/portforward": ("create", "get"), "pods": ("get", "list", "watch")}.items()
    for verb in verbs
)


def needed(target: Target) -> list[Right]:
    """What forwarding to this target takes, and what makes it better: see `OPTIONAL`."""
    if target.kind == "pod":
        return [each._replace(name=target.name if each.verb in ("create", "get") else "") for each in OF_PODS]
    if target.kind == "selector":
        return [*OF_PODS]
    return [*OF_PODS, Right("get", f"{target.kind}s", "" if target.kind == "service" else "apps", target.name)]


# What it means that one is missing, where that is no failure.
OPTIONAL = {
    "get pods/portforward": "kubectl 1.31 and later need it for WebSockets, and try SPDY without it",
    "watch pods": "a forward notices a restart only when kubectl does",
    "watch services": "services that come and go are noticed every 5 minutes",
}


def missing(rights: Iterable[Right], namespace: str) -> Problem:
    """What to ask for, where some are not given. All are of one resource."""
    given = list(rights)
    verbs, resource, group = ", ".join(each.verb for each in given), given[0].resource, given[0].group
    where = f"in namespace {namespace}" if namespace else "in all namespaces"
    step = f'Ask for a role with the rule: apiGroups ["{group}"], resources [{resource}], verbs [{verbs}]'
    return Problem(Cause.FORBIDDEN, f"you may not {verbs} {resource} {where}", step)


def by_resource(rights: Sequence[Right]) -> list[list[Right]]:
    return [[each for each in rights if each.resource == name] for name in dict.fromkeys(r.resource for r in rights)]
