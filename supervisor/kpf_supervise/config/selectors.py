"""Label selectors: the text of `kubectl -l`, the apps/v1 object and a service's map, matched against a pod's labels.

The semantics are those of k8s.io/apimachinery/pkg/labels: `!=` and `notin` also match a pod without the label. An
empty selector matches everything in Kubernetes. Here it is rejected: a forward to an arbitrary pod is never wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kpf_supervise.text import quote

Operator = Literal["in", "notin", "exists", "absent"]

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
PREFIX = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
REQUIREMENT = re.compile(
    r"""\s*(?: !\s*(?P<absent>[^\s,()!=]+)
          | (?P<key>[^\s,()!=]+)
            (?: \s*(?P<sign>==|=|!=)\s*(?P<value>[^\s,()!=]*)
              | \s+(?P<word>in|notin)\s*\((?P<values>[^()]*)\) )?
        )\s*(?:,(?=.)|\Z)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case "in":
                return labels.get(self.key) in self.values
            case "notin":
                return labels.get(self.key) not in self.values
            case "exists":
                return self.key in labels
            case "absent":
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class Selector:
    """One or more conditions that must all hold."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)


def parse_selector(text: str) -> Selector:
    """Parse a selector in kubectl's syntax: `a=b, c!=d, e in (f,g), h notin (i), j, !k`.

    Raises ValueError with a message for the user.
    """
    requirements: list[Requirement] = []
    position = 0
    while position < len(text) and not text.isspace():
        found = REQUIREMENT.match(text, position)
        if not found:
            raise ValueError(f"not a label selector from its character {position + 1} on")
        requirements.append(_requirement(**found.groupdict()))
        position = found.end()
    return _selector(requirements)


def from_label_selector(selector: Mapping[str, Any]) -> Selector:
    """The selector of a Deployment, StatefulSet …: `{matchLabels, matchExpressions}`. Raises ValueError."""
    operators: dict[str, Operator] = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}
    expressions = selector.get("matchExpressions") or []
    for expression in expressions:
        if expression["operator"] not in operators:
            raise ValueError(f"unknown selector operator {expression['operator']}")
    return _selector(
        [
            *_equal(selector.get("matchLabels") or {}),
            *(Requirement(e["key"], operators[e["operator"]], frozenset(e.get("values") or ())) for e in expressions),
        ]
    )


def from_map(labels: Mapping[str, str] | None) -> Selector:
    """The selector of a service, `spec.selector`. Raises ValueError if the service has none."""
    return _selector(_equal(labels or {}))


def _equal(labels: Mapping[str, str]) -> list[Requirement]:
    return [Requirement(key, "in", frozenset([value])) for key, value in labels.items()]


def _selector(requirements: Iterable[Requirement]) -> Selector:
    selector = Selector(tuple(requirements))
    if not selector.requirements:
        raise ValueError("an empty selector, which would match every pod")
    return selector


def _requirement(
    absent: str | None, key: str | None, sign: str | None, value: str | None, word: str | None, values: str | None
) -> Requirement:
    """A requirement from REQUIREMENT's groups."""
    if absent is not None:
        return Requirement(_key(absent), "absent")
    assert key is not None
    if sign is not None:
        return Requirement(_key(key), "notin" if sign == "!=" else "in", frozenset([_value(value or "")]))
    if word is not None:
        listed = frozenset(_value(part.strip()) for part in (values or "").split(","))
        return Requirement(_key(key), "notin" if word == "notin" else "in", listed)
    return Requirement(_key(key), "exists")


def _key(text: str) -> str:
    """`text` if it is a valid label key, [PREFIX/]NAME. Raises ValueError otherwise."""
    prefix, slash, name = text.rpartition("/")
    good_prefix = not slash or (len(prefix) <= 253 and PREFIX.fullmatch(prefix))
    if not good_prefix or len(name) > 63 or not NAME.fullmatch(name):
        raise ValueError(f"{quote(text)} is not a label key")
    return text


def _value(text: str) -> str:
    """`text` if it is a valid label value; it may be empty. Raises ValueError otherwise."""
    if text and (len(text) > 63 or not NAME.fullmatch(text)):
        raise ValueError(f"{quote(text)} is not a label value")
    return text
