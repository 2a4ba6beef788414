"""Reads `services:`, the part of the file that declares whole namespaces."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kpf_supervise.config.contents import ServiceGroup
from kpf_supervise.config.errors import Mistake
from kpf_supervise.config.schema import SERVICES
from kpf_supervise.loading.forwards import read_groups
from kpf_supervise.loading.reader import Reader
from kpf_supervise.loading.yaml_nodes import Item, is_empty, kind
from kpf_supervise.model import Forward
from kpf_supervise.text import quote

_SHAPE = "Write it as in services: [{namespace: shop}]."
_OFFSET = re.compile(r"\+([1-9][0-9]{0,4})")
_PATTERN = re.compile(r"[a-z0-9*?\[\]!-]+")
EACH = "each"  # as the address


def read_services(
    reader: Reader, item: Item, base: dict[str, Any], forward: Callable[[dict[str, Any]], Forward]
) -> list[ServiceGroup]:
    """One group or a list of them. `base` are the options of the whole file; `forward` makes the template of options.
    After a mistake, which is in `reader.problems`, the result is of no use."""
    found: list[Item] = []
    if kind(item.node) == "nothing" and not is_empty(item):
        reader.problems.append(item.problem(Mistake("no services are declared", _SHAPE)))
    else:
        found = reader.elements(item)
    groups: list[ServiceGroup] = []
    for each in found:
        before = len(reader.problems)
        group = _group(reader, each, base, forward)
        if len(reader.problems) > before:
            continue
        if any(_same(group, other) for other in groups):
            mistake = Mistake("the same services once more", "Remove this group, or give it another selector.")
            reader.problems.append(each.problem(mistake))
        groups.append(group)
    return groups


def _same(one: ServiceGroup, other: ServiceGroup) -> bool:
    def what(group: ServiceGroup) -> object:
        return group.template.cluster, group.template.namespace, group.selector

    return what(one) == what(other)


def _group(
    reader: Reader, item: Item, base: dict[str, Any], forward: Callable[[dict[str, Any]], Forward]
) -> ServiceGroup:
    group = {} if is_empty(item) else reader.group(item, SERVICES, _SHAPE)
    address = group.get("address")
    each_address = address is not None and reader.read(address, str) == EACH
    plain = {key: entry for key, entry in group.items() if key not in ("local", "exclude", "groups")}
    if each_address:
        del plain["address"]
    values = {**base, "address": "127.0.0.1"} if each_address else base
    values = reader.options(plain, {**values, "lazy": True})
    selector = values.pop("selector", None)
    offset = reader.read(group["local"], parse_local) if "local" in group else 0
    patterns = [reader.read(each, parse_pattern) for each in reader.elements(group.get("exclude"))]
    template = forward(values)
    return ServiceGroup(
        template=replace(template, dormant=template.lazy, groups=read_groups(reader, group)),
        selector=getattr(selector, "name", ""),
        exclude=tuple(patterns),
        offset=offset,
        each_address=each_address,
    )


def parse_local(text: str) -> int | None:
    """What is added to the service's port; None for a free port."""
    if text == "same":
        return 0
    if text == "free":
        return None
    found = _OFFSET.fullmatch(text)
    if found is None or int(found[1]) > 65534:
        fix = f"Did you mean +{text}?" if _OFFSET.fullmatch(f"+{text}") else "Write same, free, or as in +10000."
        raise Mistake(f"{quote(text)} says no local ports", fix)
    return int(found[1])


def parse_pattern(text: str) -> str:
    """A pattern of service names, as the shell has them."""
    if not _PATTERN.fullmatch(text):
        raise Mistake(f"{quote(text)} is not a pattern of service names", 'Write it as in "*-metrics".')
    return text
