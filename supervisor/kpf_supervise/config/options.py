"""Declares every option of the configuration file once: how its text is parsed, how a value is written back, and its
JSON Schema. To add an option, add an entry here, and a field with the default in `model`.

This is not done with pydantic or msgspec. All mistakes are reported at once, each with its line, column, key and fix,
and from the text as written (`2222:22` is not a base-60 number). Those libraries see values, not text, and their
messages suggest no fix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from kpf_supervise.config.contents import Config
from kpf_supervise.config.values import (
    parse_address,
    parse_attempts,
    parse_bool,
    parse_children,
    parse_choice,
    parse_context,
    parse_duration,
    parse_idle_timeout,
    parse_kubeconfig,
    parse_kubectl,
    parse_listen,
    parse_namespace,
    parse_positive_duration,
    parse_selector_target,
    parse_socket,
    parse_target,
)
from kpf_supervise.model import TARGET_KINDS, Forward

Schema = dict[str, Any]

DURATION: Schema = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"}
PORT: Schema = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 65535},
        {"type": "string", "pattern": "^([0-9]{1,5}|[0-9]{0,5}:[a-z0-9-]{1,63})$"},
    ]
}


def _seconds(value: float) -> str:
    return f"{value:f}".rstrip("0").rstrip(".") + "s"


@dataclass(frozen=True, slots=True)
class Option:
    """`parse` takes the text, and if `relative` is set also the `folder` of the file; it raises Mistake. `write` gives
    what the file would contain for a value."""

    parse: Callable[..., Any]
    schema: Schema
    relative: bool = False
    write: Callable[[Any], Any] = lambda value: value


def _text(parse: Callable[..., Any], description: str, relative: bool = False, **more: Any) -> Option:
    return Option(parse, {"type": "string", "minLength": 1, "description": description, **more}, relative)


def _flag(description: str) -> Option:
    return Option(parse_bool, {"type": "boolean", "description": description})


def _duration(parse: Callable[[str], float], description: str) -> Option:
    return Option(parse, DURATION | {"description": description}, write=_seconds)


def _idle_timeout(description: str) -> Option:
    schema = {"anyOf": [DURATION, {"const": "never"}], "description": description}
    return Option(parse_idle_timeout, schema, write=lambda value: "never" if value is None else _seconds(value))


def _choice(what: str, description: str, *words: str) -> Option:
    return Option(partial(parse_choice, what=what, words=words), {"enum": list(words), "description": description})


RECONNECT_OPTIONS = {
    "attempts": Option(
        parse_attempts,
        {
            "anyOf": [{"type": "integer", "minimum": 1}, {"const": "unlimited"}],
            "description": "How often a lost kubectl is restarted before the forward fails; reset once it was healthy.",
        },
        write=lambda value: "unlimited" if value is None else value,
    ),
    "initial": _duration(parse_positive_duration, "The wait before the first attempt; it doubles each time."),
    "max": _duration(parse_positive_duration, "The longest wait between two attempts."),
}
CLUSTER_OPTIONS = {
    "context": _text(parse_context, "The kubeconfig's context. Default: its current one."),
    "namespace": _text(parse_namespace, "The namespace. Default: that of the context."),
    "kubeconfig": _text(
        parse_kubeconfig, "Path of the kubeconfig, relative to this file. Default: as for kubectl.", relative=True
    ),
}
# Options allowed both in a forward and in `defaults`.
DEFAULT_OPTIONS = CLUSTER_OPTIONS | {
    "address": _text(parse_address, 'Where to listen: "localhost" (127.0.0.1 and ::1) or one IP address.'),
    "hold": _duration(parse_duration, "How long a new connection waits for a pod; 0s: not at all."),
    "lazy": _flag("Start no kubectl before the first connection."),
    "idle_timeout": _idle_timeout("End the kubectl of a lazy forward after this time without a connection."),
    "balance": _flag("Spread its connections over all ready pods of the target, at most `children` at a time."),
    "children": Option(
        parse_children,
        {
            "type": "integer",
            "minimum": 1,
            "maximum": 16,
            "description": "How many kubectls share its connections; if several, one more is kept as a spare. "
            "With balance, how many at most: 4 by default, each to a pod of its own.",
        },
    ),
    "protocol": _choice("a protocol", "The tunnel's protocol; auto leaves it to kubectl.", "auto", "spdy", "websocket"),
    "notify": _choice(
        "a way to notify",
        "How the user is told that it was lost, is back, or has failed, in addition to the log line.",
        "none",
        "bell",
        "desktop",
    ),
}
TARGET_OPTIONS = {
    "target": _text(
        parse_target,
        f"KIND/NAME, where KIND is {', '.join(TARGET_KINDS)} or kubectl's short name; a bare NAME is a pod.",
    ),
    "selector": _text(
        parse_selector_target,
        "Instead of a target, a label selector as for kubectl -l: app=search,tier in (backend,edge).",
    ),
}
EACH_OPTION = {
    "each": _flag(
        "A forward for each pod of the target: NAME/0, NAME/1, with local ports counted up from the given one."
    )
}
ENABLED_OPTION = {"enabled": _flag("Whether this forward is started with the others.")}
TOP_OPTIONS = CLUSTER_OPTIONS | {
    "kubectl": _text(
        parse_kubectl,
        "The kubectl to run: a name on PATH, or a path relative to this file.",
        relative=True,
        default="kubectl",
    ),
    "socket": _text(
        parse_socket, "The control socket, relative to this file. Default: one in the user's runtime folder.", True
    ),
    "metrics": Option(
        parse_listen,
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "string", "pattern": r"^(.+:)?[0-9]{1,5}$"},
            ],
            "description": "Serve metrics for Prometheus on this local port, [ADDRESS:]PORT. Default address: "
            "localhost.",
        },
    ),
    "persist": _flag("Restore what was started and stopped with kpfctl at the next start."),
    "credentials": _choice(
        "a way to sign in",
        "What one run of a credential plugin gives is shared by all kubectls, or each runs it itself, one at a time.",
        "share",
        "each",
    ),
}

# Those of the proxy; `port` and `namespaces` are read apart.
PROXY_OPTIONS = {
    **CLUSTER_OPTIONS,
    "address": DEFAULT_OPTIONS["address"],
    "hold": DEFAULT_OPTIONS["hold"],
    "idle_timeout": _idle_timeout(
        "Take a name off the list, and end its kubectl, after this time without a connection."
    ),
    "direct": _flag("Reach hosts that are not of the cluster directly, instead of refusing them."),
}

# All options with a single value. Those of reconnect are flat here, so that each overrides only its own default.
OPTIONS = (
    PROXY_OPTIONS
    | TOP_OPTIONS
    | TARGET_OPTIONS
    | EACH_OPTION
    | DEFAULT_OPTIONS
    | ENABLED_OPTION
    | {f"reconnect.{key}": option for key, option in RECONNECT_OPTIONS.items()}
)
OF_FORWARD = [key for key in DEFAULT_OPTIONS | ENABLED_OPTION if key in {field.name for field in fields(Forward)}]
OF_FILE = [key for key in TOP_OPTIONS if key in {field.name for field in fields(Config)}]


def written(forward: Forward) -> dict[str, Any]:
    """A forward as the file would declare it, with every option."""
    said = {
        "selector" if forward.target.kind == "selector" else "target": str(forward.target),
        "ports": f"{forward.local or ''}:{forward.remote}",
        "context": forward.cluster.context,
        "kubeconfig": str(forward.cluster.kubeconfig) if forward.cluster.kubeconfig else None,
        **{key: OPTIONS[key].write(getattr(forward, key)) for key in OF_FORWARD},
        "reconnect": {key: each.write(getattr(forward.reconnect, key)) for key, each in RECONNECT_OPTIONS.items()},
        "groups": list(forward.groups) or None,
    }
    return {key: value for key, value in said.items() if value is not None}
