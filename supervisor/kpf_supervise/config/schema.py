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


def _forward(properties: dict[str, Schema], *required: str) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "oneOf": [{"required": ["target"]}, {"required": ["selector"]}],
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
_NAME: Schema = {"type": "string", "pattern": f"^{FORWARD_NAME.pattern}$"}
_GROUPS: dict[str, Schema] = {
    "groups": {
        "anyOf": [_NAME, {"type": "array", "items": _NAME, "minItems": 1}],
        "description": "The groups that it belongs to, by name: for the options --group.",
    }
}
_OWN_OPTIONS = _properties(EACH_OPTION | ENABLED_OPTION, TEMPLATE)
FORWARD = _properties(TARGET_OPTIONS, ports=_PORTS) | DEFAULTS | _OWN_OPTIONS | _GROUPS
NAMED_FORWARD = {"name": _NAME | {"description": "The name of the forward."}} | FORWARD
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
    | _GROUPS
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
        "type": ["object", "array"],
        "description": "The forwards by name, or a list of entries with a name.",
        "minProperties": 1,
        "propertyNames": {"pattern": _NAME["pattern"]},
        "additionalProperties": _forward(FORWARD, "ports"),
        "minItems": 1,
        "items": _forward(NAMED_FORWARD, "name", "ports"),
    },
)
OWN = "x-"  # a key at the top that begins with it is the user's own

# Whatever value stands there then; the reader knows.
_VARIABLE: Schema = {"type": "string", "pattern": r"\$"}


def _with_variables(part: Schema) -> Schema:
    """The same, but each single value may have a variable in it."""
    if _restricted(part):
        about: Schema = {key: part[key] for key in ("description", "default") if key in part}
        plain = {key: value for key, value in part.items() if key not in about}
        return {"anyOf": [plain, _VARIABLE], **about}
    changed = dict(part)
    if "anyOf" in part:
        ways = part["anyOf"]
        changed["anyOf"] = [each if _restricted(each) else _with_variables(each) for each in ways]
        changed["anyOf"] += [_VARIABLE] if any(map(_restricted, ways)) else []
    if "properties" in part:
        changed["properties"] = {key: _with_variables(each) for key, each in part["properties"].items()}
    for inner in ("items", "additionalProperties"):
        if isinstance(part.get(inner), dict):
            changed[inner] = _with_variables(part[inner])
    return changed


def _restricted(part: Schema) -> bool:
    return part.get("type") in ("integer", "boolean") or bool(part.keys() & {"enum", "const", "pattern"})


def schema() -> Schema:
    """The JSON Schema of the configuration file, for editors."""
    plain: Schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kpf-supervise configuration",
        "type": "object",
        "additionalProperties": False,
        "anyOf": [{"required": ["forwards"]}, {"required": ["services"]}, {"required": ["proxy"]}],
        "properties": TOP,
        "patternProperties": {f"^{OWN}": {}},
    }
    return _with_variables(plain)
