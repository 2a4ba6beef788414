"""Which keys stand at each level of the configuration file, and its JSON Schema (draft 2020-12)."""

from __future__ import annotations

from collections.abc import Mapping

from kpf_supervise.config.contents import PROXIED, Config, Proxy
from kpf_supervise.config.options import (
    DEFAULT_OPTIONS,
    EACH_OPTION,
    ENABLED_OPTION,
    PORT,
    PROXY_OPTIONS,
    RECONNECT_OPTIONS,
    TARGET_OPTIONS,
    TOP_OPTIONS,
    Option,
    Schema,
)
from kpf_supervise.config.values import FORWARD_NAME
from kpf_supervise.model import TEMPLATE, Reconnect


def _properties(options: Mapping[str, Option], model: object = None, **groups: Schema) -> dict[str, Schema]:
    """The schemas of options and groups. The fields of `model` are the options' defaults."""
    found = {key: option.write(getattr(model, key)) for key, option in options.items() if hasattr(model, key)}
    defaults = {key: {"default": value} for key, value in found.items() if value is not None}
    return {key: option.schema | defaults.get(key, {}) for key, option in options.items()} | groups


def _group(description: str, properties: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        "properties": properties,
    }


_OF_SERVICES_ADDRESS = (
    'Where to listen: "localhost", one IP address, or "each": for each service its own in 127.0.0.0/8.'
)

# The keys allowed at each level, with their schemas.
RECONNECT = _properties(RECONNECT_OPTIONS, Reconnect())
_TIMES = _group("How a lost kubectl is restarted.", RECONNECT)
DEFAULTS = _properties(DEFAULT_OPTIONS, TEMPLATE, reconnect=_TIMES)
_PORTS = {
    "anyOf": [PORT, {"type": "array", "items": PORT, "minItems": 1}],
    "description": 'One port or a list, [LOCAL:]REMOTE: 5432, "8080:http"; ":80" takes any free local port.',
}
FORWARD = _properties(TARGET_OPTIONS, ports=_PORTS) | DEFAULTS | _properties(EACH_OPTION | ENABLED_OPTION, TEMPLATE)
_ADDRESS = {"address": {**DEFAULTS["address"], "description": _OF_SERVICES_ADDRESS}}
_LOCAL: Schema = {
    "type": "string",
    "pattern": r"^(same|free|\+[1-9][0-9]{0,4})$",
    "default": "same",
    "description": "Local ports: same (the service's), free (any free one, the same at each start), or as in +10000.",
}
_PATTERN: Schema = {"type": "string", "pattern": r"^[a-z0-9*?\[\]!-]+$"}
_EXCLUDE = {
    "anyOf": [_PATTERN, {"type": "array", "items": _PATTERN, "minItems": 1}],
    "description": 'Services that are left out, by patterns of their names: "*-metrics".',
}
_LAZY = {"lazy": {**DEFAULTS["lazy"], "default": True}}
_OF_LABELS = {
    "selector": TARGET_OPTIONS["selector"].schema
    | {"description": "Only the services with these labels, as for kubectl -l."}
}
SERVICES = (
    _OF_LABELS
    | {"exclude": _EXCLUDE, "local": _LOCAL}
    | DEFAULTS
    | _ADDRESS
    | _LAZY
    | _properties(ENABLED_OPTION, TEMPLATE)
)
_SERVICE_GROUP = _group("The services of one namespace.", SERVICES)
_PROXY_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
_NAMESPACE: Schema = {"type": "string", "minLength": 1}
PROXY: dict[str, Schema] = {
    "port": _PROXY_PORT | {"description": "The local port: SOCKS5 and HTTP."},
    "namespaces": {
        "anyOf": [_NAMESPACE, {"type": "array", "items": _NAMESPACE, "minItems": 1}],
        "description": "The only namespaces whose names are reached. Default: all.",
    },
    **_properties(PROXY_OPTIONS, PROXIED),
}
PROXY["direct"] |= {"default": Proxy(port=1).direct}
TOP = _properties(
    TOP_OPTIONS,
    Config(()),
    proxy={
        "anyOf": [_PROXY_PORT, _group("The proxy and its options.", PROXY) | {"required": ["port"]}],
        "description": "One local port on which every name of the cluster can be reached.",
    },
    services={
        "anyOf": [_SERVICE_GROUP, {"type": "array", "items": _SERVICE_GROUP, "minItems": 1}],
        "description": "Namespaces of which each port of each service is forwarded, as NAMESPACE/SERVICE/PORT.",
    },
    defaults=_group("Options for all forwards that don't set their own.", DEFAULTS),
    forwards={
        "type": "object",
        "description": "The forwards by name.",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^{FORWARD_NAME.pattern}$"},
        "additionalProperties": {
            "type": "object",
            "additionalProperties": False,
            "required": ["ports"],
            "oneOf": [{"required": ["target"]}, {"required": ["selector"]}],
            "properties": FORWARD,
        },
    },
)


def schema() -> Schema:
    """The JSON Schema of the configuration file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kpf-supervise configuration",
        "type": "object",
        "additionalProperties": False,
        "anyOf": [{"required": ["forwards"]}, {"required": ["services"]}, {"required": ["proxy"]}],
        "properties": TOP,
    }
