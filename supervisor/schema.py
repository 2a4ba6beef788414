"""The configuration file as a JSON Schema (draft 2020-12); its properties are also the list of the known options."""

from __future__ import annotations

from typing import Any

from supervisor.model import TARGET_KINDS

Properties = dict[str, dict[str, Any]]

DURATION = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"}
PORT = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 65535},
        {"type": "string", "pattern": "^([0-9]{1,5}|[0-9]{0,5}:[a-z0-9-]{1,63})$"},
    ]
}


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "description": description, **more}


def _flag(description: str, default: bool) -> dict[str, Any]:
    return {"type": "boolean", "description": description, "default": default}


RECONNECT: Properties = {
    "attempts": {
        "anyOf": [{"type": "integer", "minimum": 1}, {"const": "unlimited"}],
        "description": "How often a lost child is tried again before the forward fails; counted anew once it was well.",
        "default": 3,
    },
    "initial": DURATION
    | {"description": "The wait before the first attempt; it doubles each time.", "default": "500ms"},
    "max": DURATION | {"description": "The longest wait between two attempts.", "default": "30s"},
}

CLUSTER: Properties = {
    "context": _text("The kubeconfig's context. Default: its current one."),
    "namespace": _text("The namespace. Default: that of the context."),
    "kubeconfig": _text("Path of the kubeconfig, relative to this file. Default: as for kubectl."),
}

# What a forward may say and `defaults` too.
DEFAULTS: Properties = CLUSTER | {
    "address": _text('Where to listen: "localhost" (127.0.0.1 and ::1) or one IP address.', default="localhost"),
    "hold": DURATION | {"description": "How long a new connection waits for a pod; 0s: not at all.", "default": "30s"},
    "lazy": _flag("Open no tunnel until the first connection.", default=False),
    "idle_timeout": {
        "anyOf": [DURATION, {"const": "never"}],
        "description": "End the kubectl of a lazy forward after so long without a connection.",
        "default": "never",
    },
    "children": {
        "type": "integer",
        "minimum": 1,
        "maximum": 16,
        "description": "Over how many kubectls its connections are spread; one more is kept to spare if several.",
        "default": 1,
    },
    "protocol": {
        "enum": ["auto", "spdy", "websocket"],
        "description": "The tunnel's protocol; auto leaves it to kubectl.",
        "default": "auto",
    },
    "notify": {
        "enum": ["none", "bell", "desktop"],
        "description": "How to tell that it was lost, is back, or has failed, beside the line that says so.",
        "default": "none",
    },
    "reconnect": {
        "type": "object",
        "description": "How a lost child is tried again.",
        "additionalProperties": False,
        "properties": RECONNECT,
    },
}

FORWARD: Properties = {
    "target": _text(
        f"KIND/NAME, where KIND is {', '.join(TARGET_KINDS)} or kubectl's short name; a bare NAME is a pod."
    ),
    "selector": _text("Instead of a target, a label selector as for kubectl -l: app=search,tier in (backend,edge)."),
    "ports": {
        "anyOf": [PORT, {"type": "array", "items": PORT, "minItems": 1}],
        "description": 'One port or a list, [LOCAL:]REMOTE: 5432, "8080:http"; ":80" takes any free local port.',
    },
    **DEFAULTS,
    "enabled": _flag("Whether this forward is started with the others.", default=True),
}

TOP: Properties = CLUSTER | {
    "kubectl": _text("The kubectl to run: a name on PATH, or a path relative to this file.", default="kubectl"),
    "socket": _text("The control socket, relative to this file. Default: one in the user's runtime folder."),
    "persist": _flag("Restore what was started and stopped with kpfctl at the next start.", default=False),
    "defaults": {
        "type": "object",
        "description": "Options for all forwards that don't set their own.",
        "additionalProperties": False,
        "properties": DEFAULTS,
    },
    "forwards": {
        "type": "object",
        "description": "The forwards by name.",
        "minProperties": 1,
        "propertyNames": {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"},
        "additionalProperties": {
            "type": "object",
            "additionalProperties": False,
            "required": ["ports"],
            "oneOf": [{"required": ["target"]}, {"required": ["selector"]}],
            "properties": FORWARD,
        },
    },
}


def schema() -> dict[str, Any]:
    """The JSON Schema of the file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kpf-supervise configuration",
        "type": "object",
        "additionalProperties": False,
        "required": ["forwards"],
        "properties": TOP,
    }
