"""Reads `proxy:`, the part of the file that declares the proxy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kpf_supervise.config.contents import Proxy, proxied
from kpf_supervise.config.errors import Mistake
from kpf_supervise.config.schema import PROXY
from kpf_supervise.config.values import parse_namespace, parse_proxy_port
from kpf_supervise.loading.reader import Reader
from kpf_supervise.loading.yaml_nodes import Item, kind
from kpf_supervise.model import Forward


def read_proxy(
    reader: Reader, item: Item, base: dict[str, Any], forward: Callable[[dict[str, Any]], Forward]
) -> Proxy | None:
    """The proxy: its port alone, or its options. It listens where its own options say, and not where forwards do by
    default. Claims its port. `base` are the options of the whole file; `forward` makes the template of options. None
    after a mistake, which is in `reader.problems`."""
    before = len(reader.problems)
    group = {"port": item}
    if kind(item.node) != "a single value":
        group = reader.group(item, PROXY, "Write a port, as in proxy: 1080, or its options.")
        if kind(item.node) == "a group of keys" and "port" not in group:
            reader.problems.append(item.key_problem(Mistake("no port", "Add one, such as port: 1080.")))
    port = reader.read(group["port"], parse_proxy_port) if "port" in group else 0
    own = reader.options({key: each for key, each in group.items() if key != "port"}, {})
    address, direct = own.pop("address", "localhost"), own.pop("direct", False)
    own_timeout = {key: each for key, each in own.items() if key == "idle_timeout"}  # "never" is None
    namespaces = [reader.read(each, parse_namespace) for each in reader.elements(group.get("namespaces"))]
    if len(reader.problems) > before:
        return None
    with reader.noting(group["port"].problem):
        reader.claim(group["port"], port, address)
    template = replace(proxied(forward(base | own)), **own_timeout)
    return Proxy(port=port, address=address, namespaces=tuple(namespaces), direct=direct, template=template)
