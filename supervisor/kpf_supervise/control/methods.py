"""The methods of the control socket: their parameters and the allowed values. Pure."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from kpf_supervise.config.errors import Mistake
from kpf_supervise.config.target_kinds import KINDS
from kpf_supervise.config.values import (
    parse_address,
    parse_children,
    parse_context,
    parse_duration,
    parse_forward_name,
    parse_kubeconfig,
    parse_namespace,
    parse_port,
    parse_positive_duration,
    parse_selector_target,
    parse_target,
)
from kpf_supervise.control.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND, Refusal
from kpf_supervise.model import TARGET_KINDS, Target
from kpf_supervise.text import quote, shorten


@dataclass(frozen=True, slots=True)
class Parameter:
    """`read` converts the JSON value to our own, or raises Mistake."""

    read: Callable[[Any], Any]
    required: bool = True


def _optional(parse: Callable[[str], Any]) -> Parameter:
    return Parameter(lambda value: parse(_text(value)), required=False)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Mistake(f"{_shown(value)} is not a string", 'Write it in quotes, such as "web".')
    return value


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return shorten(json.dumps(value))


def _number(value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Mistake(f"{_shown(value)} is not a number", f"Write a whole number from {least} to 65535.")
    if not least <= value <= 65535:
        raise Mistake(f"{_shown(value)} is out of range", f"Use {least} to 65535.")
    return value


def _kind(value: Any) -> str:
    kind = _text(value).lower()
    if kind != "selector" and kind not in KINDS:
        raise Mistake(f"{quote(kind)} is not a kind of target", f"Use one of {', '.join(TARGET_KINDS)}, or selector.")
    return KINDS.get(kind, kind)


def _remote(value: Any) -> int | str:
    if isinstance(value, str) and not value.isdecimal():
        return parse_port(f":{value}", of_service=True)[1]
    return _number(value, 1)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Mistake(f"{_shown(value)} is neither true nor false", "Write true or false, without quotes.")
    return value


def _target(value: Any) -> Target:
    """`KIND/NAME`, or a label selector where that has a =, a blank or a !."""
    text = _text(value)
    return parse_selector_target(text) if re.search(r"[=! ]", text) else parse_target(text)


def _count(value: Any) -> int:
    return parse_children(_shown(value))


_LONGEST_LEASE = 366 * 24 * 3600.0  # seconds


def _lease(text: str) -> float:
    seconds = parse_positive_duration(text)
    if seconds > _LONGEST_LEASE:
        raise Mistake(f"{quote(text)} is longer than a year", "A lease is renewed by the next call.")
    return seconds


def _kubeconfigs(text: str) -> tuple[str, ...]:
    """A list as in $KUBECONFIG. The files need not exist, as for kubectl."""
    paths = tuple(text.split(os.pathsep))
    for path in paths:
        if not path.isprintable():
            raise Mistake(f"{quote(path)} is not a path that can be shown", "Rename the file.")
        if not os.path.isabs(path):
            raise Mistake(f"{quote(path)} is not an absolute path", "Begin it with /.")
    return paths


def _path(value: Any) -> Path:
    path = Path(_text(value))
    if not path.is_absolute():
        raise Mistake(f"{_shown(value)} is not an absolute path", "Begin it with /.")
    return parse_kubeconfig(str(path), path.parent)


ID = {"id": Parameter(_text)}
CLUSTER = {"context": _optional(parse_context), "kubeconfig": Parameter(_path, required=False)}
PLACE = CLUSTER | {"namespace": _optional(parse_namespace)}
METHODS: dict[str, dict[str, Parameter]] = {
    "portforward:start": {
        "resource_type": Parameter(_kind),
        "name": Parameter(_text),
        "local_port": Parameter(lambda value: _number(value, 0)),
        "remote_port": Parameter(_remote),
        "address": _optional(parse_address),
        "hold": _optional(parse_duration),
        "children": Parameter(_count, required=False),
        "lazy": Parameter(_flag, required=False),
        "id": _optional(parse_forward_name),
        **PLACE,
    },
    "portforward:ensure": {
        "resource_type": Parameter(_kind),
        "name": Parameter(_text),
        "remote_port": Parameter(_remote),
        "local_port": Parameter(lambda value: _number(value, 0), required=False),
        "ttl": _optional(_lease),
        "timeout": _optional(parse_duration),
        "start": Parameter(_flag, required=False),
        **PLACE,
        "kubeconfig": _optional(_kubeconfigs),
    },
    "portforward:stop": ID,
    "portforward:list": {},
    "stop_all": {},
    "restart": ID,
    "reload": {},
    "logins": {},
    "login": {
        "context": Parameter(lambda value: parse_context(_text(value))),
        "terminal": Parameter(_flag, required=False),
        "credential": _optional(str),
    },
    "shutdown": {},
    "logs": ID,
    "events": {},
    "subscribe": {"counters": Parameter(_flag, required=False)},
    "info": {},
    "describe": ID,
    "contexts": {"kubeconfig": CLUSTER["kubeconfig"]},
    "namespaces": CLUSTER,
    "targets": PLACE,
    "ports": {"target": Parameter(_target), **PLACE},
}


def arguments(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a call, converted. Raises Refusal, which names the method or the parameter."""
    known = METHODS.get(method)
    if known is None:
        raise Refusal(METHOD_NOT_FOUND, f"no method {quote(method)}{_near(method, METHODS)}")
    for name in params:
        if name not in known:
            raise Refusal(INVALID_PARAMS, f"{method} has no parameter {quote(name)}{_near(name, known)}")
    values = {}
    for name, parameter in known.items():
        if name not in params or (params[name] is None and not parameter.required):
            if parameter.required:
                raise Refusal(INVALID_PARAMS, f"{method} needs {name}")
            continue
        try:
            values[name] = parameter.read(params[name])
        except Mistake as mistake:
            raise Refusal(INVALID_PARAMS, f"{name}: {mistake}") from None
    return values


def target_of(kind: str, name: str, remote: int | str) -> Target:
    """The target of a call, which may have this port. Raises Refusal."""
    if isinstance(remote, str) and kind != "service" and len(remote) > 15:
        raise Refusal(INVALID_PARAMS, f"remote_port: {quote(remote)} is too long for a container's port name")
    try:
        return parse_selector_target(name) if kind == "selector" else parse_target(f"{kind}/{name}")
    except Mistake as mistake:
        raise Refusal(INVALID_PARAMS, f"name: {mistake}") from None


def no_such_forward(id: str, known: Collection[str]) -> str:
    """The error message for an id that is not `known`."""
    near = get_close_matches(id[:100], known, 1)
    there = f"Did you mean {near[0]}?" if near else f"There is: {', '.join(known) or 'none'}."
    return f"there is no forward {quote(id)}. {there}"


def _near(name: str, known: dict[str, Any]) -> str:
    near = get_close_matches(name[:100], known, 1)
    return f". Did you mean {near[0]}?" if near else f". There is: {', '.join(known)}" if known else ""
