"""The API server's answers that refuse a request."""

from __future__ import annotations

from kpf_supervise.sandbox.faults import REASONS
from kpf_supervise.sandbox.http import Response
from kpf_supervise.sandbox.objects import status_error
from kpf_supervise.sandbox.resources import Location
from kpf_supervise.sandbox.store import Object


def failure(status: int, message: str, details: Object | None = None) -> Response:
    return Response(status_error(status, REASONS.get(status, "Unknown"), message, details), status)


def not_found(location: Location) -> Response:
    resource = location.resource
    details = {"name": location.name, "group": resource.group, "kind": resource.name}
    return failure(404, f'{resource.qualified} "{location.name}" not found', details)


def forbidden(user: str, verb: str, location: Location) -> Response:
    """A 403 with the RBAC authorizer's text (API server 1.36)."""
    resource = location.resource
    named = f'{resource.qualified} "{location.name}"' if location.name else resource.qualified
    what = f"{resource.name}/{location.subresource}" if location.subresource else resource.name
    where = f'in the namespace "{location.namespace}"' if location.namespace else "at the cluster scope"
    cannot = f'User "{user}" cannot {verb} resource "{what}" in API group "{resource.group}" {where}'
    return failure(403, f"{named} is forbidden: {cannot}", {"name": location.name, "kind": resource.name})
