"""Reads `forwards:`, the part of the file that declares single forwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from kpf_supervise.config.errors import Mistake
from kpf_supervise.config.habits import check_port_group
from kpf_supervise.config.options import OF_FORWARD
from kpf_supervise.config.schema import FORWARD, NAMED_FORWARD
from kpf_supervise.config.values import parse_forward_name, parse_group, parse_port
from kpf_supervise.config.words import Port, ids_of
from kpf_supervise.loading.reader import BAD, Reader
from kpf_supervise.loading.yaml_nodes import Item, kind, singles
from kpf_supervise.model import TEMPLATE, Cluster, Forward, Reconnect
from kpf_supervise.text import shorten

EXAMPLE = "Write for example forwards: {web: {target: service/web, ports: 8080}}."
BALANCED = 4  # kubectls at most, if the file names no number
_BELOW = "Write each forward below its name: web: {target: service/web, ports: 8080}."
_ENTRY = "Write each as in - {name: web, target: service/web, ports: 8080}."


class Declared(NamedTuple):
    forwards: list[Forward]  # one for each port
    each: bool  # one for each pod of the target, too


class _Named(NamedTuple):
    """What is declared under one name."""

    name: str
    item: Item
    group: dict[str, Item]


def read_forwards(reader: Reader, item: Item, base: dict[str, Any]) -> list[Declared]:
    """All of them, by name or as a list of entries with a name. `base` are the options of the whole file. After a
    mistake, which is in `reader.problems`, the result is of no use."""
    if kind(item.node) == "nothing":
        fix = EXAMPLE.replace("Write", "Write each below its name,")
        reader.problems.append(item.problem(Mistake("no forwards are declared", fix)))
        return []
    named = _of_list(reader, item) if kind(item.node) == "a list" else _of_group(reader, item)
    return [_declared(reader, each, base) for each in named]


def _of_group(reader: Reader, item: Item) -> Iterator[_Named]:
    for name, each in reader.group(item, None, _BELOW).items():
        with reader.noting(each.key_problem):
            parse_forward_name(name)
        group = reader.group(each, FORWARD, "Give it a target and ports.")
        if kind(each.node) == "a group of keys":
            yield _Named(name, each, group)


def _of_list(reader: Reader, item: Item) -> Iterator[_Named]:
    """A mistake in an entry is told with its name, as if that were a key."""
    lines: dict[str, int] = {}  # where each name stands
    for element in reader.elements(item):
        label = singles(element).get("name")
        each = Item(element.node, f"{item.path}.{shorten(label)}", element.key) if label else element
        group = reader.group(each, NAMED_FORWARD, _ENTRY)
        if kind(each.node) != "a group of keys":
            continue
        place = group.get("name")
        if place is None:
            reader.problems.append(each.key_problem(Mistake("no name", "Add one, such as name: web.")))
        name = reader.read(place, parse_forward_name) if place is not None else BAD
        if place is not None and name in lines:
            mistake = Mistake(f"the name {name} is in line {lines[name]} already", "Give one of them another name.")
            reader.problems.append(place.problem(mistake))
        elif place is not None and name is not BAD:
            lines[name] = place.node.start_mark.line + 1
        yield _Named("" if name is BAD else name, each, group)


def _declared(reader: Reader, named: _Named, base: dict[str, Any]) -> Declared:
    """The forwards declared under one name, one for each port."""
    name, item, group = named
    values = reader.options(group, base)
    target: Any = values.get("target", values.get("selector"))
    if "target" in group and "selector" in group:
        mistake = Mistake("a selector beside a target", "Keep one of the two.")
        reader.problems.append(group["selector"].key_problem(mistake))
    elif target is None:
        mistake = Mistake("neither a target nor a selector", "Add one, such as target: service/web.")
        reader.problems.append(item.key_problem(mistake))
    each, groups = values.get("each") is True, read_groups(reader, group)
    if "ports" not in group:
        reader.problems.append(item.key_problem(Mistake("no ports", 'Add them, such as ports: "8080:http".')))
        return Declared([], each)
    ports = _ports(reader, group["ports"], target, values.get("address", "localhost"))
    shared = _shared(values) | {"groups": groups}
    if each and target is not BAD and target is not None and target.kind == "pod":
        mistake = Mistake("each: true with a target that is one pod", "Name a workload, a service or a selector.")
        reader.problems.append(group["each"].problem(mistake))
    forwards = [
        Forward(id=id, target=target, local=local, remote=remote, **shared)
        for id, (local, remote) in zip(ids_of(name, ports), ports, strict=True)
    ]
    return Declared(forwards, each)


def read_groups(reader: Reader, group: dict[str, Item]) -> tuple[str, ...]:
    """The names below `groups:`, each once."""
    return tuple(dict.fromkeys(reader.read(each, parse_group) for each in reader.elements(group.get("groups"))))


def _ports(reader: Reader, item: Item, target: Any, address: Any) -> list[Port]:
    """The ports of one forward. Claims its local ports."""
    of_service = target is BAD or target is None or target.kind == "service"
    ports: list[Port] = []
    for element in reader.elements(item):
        port = _port(reader, element, of_service)
        if port is BAD:
            continue
        with reader.noting(element.problem):
            if port[0] is None and port in ports:
                raise Mistake("the same port once more", "Remove it, or give it a local port.")
            if port[0] is not None and address is not BAD:
                reader.claim(element, port[0], address)
        ports.append(port)
    return ports


def _port(reader: Reader, item: Item, of_service: bool) -> Any:
    """One port, or BAD."""
    with reader.noting(item.problem):
        check_port_group(singles(item))
        return reader.read(item, partial(parse_port, of_service=of_service))
    return BAD


def template(values: dict[str, Any]) -> Forward:
    """A forward with these options."""
    return replace(TEMPLATE, **_shared(values))


def _shared(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a Forward, other than its target and ports, from flat options."""
    if values.get("balance") is True:
        values = {"children": BALANCED} | values
    times = {key.removeprefix("reconnect."): value for key, value in values.items() if key.startswith("reconnect.")}
    return {key: values[key] for key in OF_FORWARD if key in values} | {
        "cluster": Cluster(values.get("kubeconfig"), values.get("context")),
        "reconnect": Reconnect(**times),
    }
