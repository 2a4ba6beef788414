"""Loads the configuration file: turns YAML into a Config, or reports all its mistakes at once."""

from __future__ import annotations

import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

from kpf_supervise.config.contents import Config
from kpf_supervise.config.errors import ConfigError, FileMistake, Mistake
from kpf_supervise.config.file import NotAFile, mark, read
from kpf_supervise.config.habits import check_port_group, check_variable
from kpf_supervise.config.options import OF_FILE, OF_FORWARD, OPTIONS, Option
from kpf_supervise.config.proxy import read_proxy
from kpf_supervise.config.schema import DEFAULTS, FORWARD, RECONNECT, TOP
from kpf_supervise.config.service_groups import read_services
from kpf_supervise.config.unknown_keys import unknown_key
from kpf_supervise.config.values import parse_forward_name, parse_port
from kpf_supervise.config.words import Port, ids_of
from kpf_supervise.config.yaml_nodes import Item, compose, elements, entries, scalar, singles
from kpf_supervise.config.yaml_nodes import kind as kind_of
from kpf_supervise.model import TEMPLATE, Cluster, Forward, Reconnect

EXAMPLE = "Write for example forwards: {web: {target: service/web, ports: 8080}}."
LARGEST = 200_000  # bytes; PyYAML reads about 100 kB/s
BALANCED = 4  # kubectls at most, if the file names no number
REQUIRED = ("forwards", "target", "selector", "ports")
BAD: Any = object()  # replaces a value already reported as wrong, so that no further checks use it


def load(path: Path, pipe: bool = False) -> Config:
    """The configuration in the file at `path`. With `pipe`, it may be a pipe (see `file.read`). Raises ConfigError with
    all mistakes."""
    whole = partial(FileMistake, str(path), 0, 0, "")
    try:
        data, found = read(path, LARGEST + 1, pipe)
    except NotAFile as error:
        fix = "Name a regular file; a pipe is read only at the start, and only as /dev/stdin or <(…)."
        raise ConfigError([whole(f"cannot be read: {error.strerror}", fix)]) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise ConfigError([whole(f"cannot be read: {reason}", "Check the path.")]) from None
    if len(data) > LARGEST:
        raise ConfigError([whole("larger than 200 kB", "Check that this is the right file.")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = data.count(b"\n", 0, error.start) + 1, error.start - data.rfind(b"\n", 0, error.start)
        raise ConfigError(
            [FileMistake(str(path), line, column, "", "not UTF-8 text", "Save the file as UTF-8.")]
        ) from None
    return replace(parse(text, str(path)), mark=mark(found) if stat.S_ISREG(found.st_mode) else None)


def parse(text: str, name: str) -> Config:
    """The configuration in `text`; `name` is the file's path, for error messages and relative paths.

    Raises ConfigError with all mistakes.
    """
    root = compose(text, name)
    if root is None:
        raise ConfigError([FileMistake(name, 1, 1, "", "the file is empty", EXAMPLE)])
    return _Reader(Path(name).parent).config(root)


class _Reader:
    """Reads one file. Collects the problems, and raises them at the end."""

    def __init__(self, folder: Path) -> None:
        self.problems: list[FileMistake] = []
        self.claims: dict[tuple[int, int], dict[IPv4Address | IPv6Address, Item]] = {}  # by port and IP version
        self.each: list[Forward] = []  # with a forward for each pod
        self.folder = folder

    @contextmanager
    def noting(self, place: Callable[[Mistake], FileMistake]) -> Iterator[None]:
        try:
            yield
        except Mistake as mistake:
            self.problems.append(place(mistake))

    def config(self, root: Item) -> Config:
        top = self.group(root, TOP, EXAMPLE)
        base = self.options(top, {})
        whole = {key: base.pop(key) for key in OF_FILE if key in base}
        if "defaults" in top and kind_of(top["defaults"].node) != "nothing":
            base = self.options(self.group(top["defaults"], DEFAULTS, "Write it as in defaults: {hold: 1m}."), base)
        named: dict[str, Item] = {}
        if "forwards" in top:
            fix = "Write each forward below its name: web: {target: service/web, ports: 8080}."
            if kind_of(top["forwards"].node) == "nothing":
                fix = EXAMPLE.replace("Write", "Write each below its name,")
                self.problems.append(top["forwards"].problem(Mistake("no forwards are declared", fix)))
            else:
                named = self.group(top["forwards"], None, fix)
        elif top and not top.keys() & {"services", "proxy"}:
            self.problems.append(root.problem(Mistake("no forwards", "Write them below the line forwards:.")))
        services = read_services(self, top["services"], base, _template) if "services" in top else []
        forwards = [forward for name, item in named.items() for forward in self.forwards(name, item, base)]
        proxy = read_proxy(self, top["proxy"], base, _template) if "proxy" in top else None
        if self.problems:
            raise ConfigError(self.problems)
        plain = (forward for forward in forwards if forward not in self.each)
        return Config(tuple(plain), tuple(self.each), tuple(services), _template(base), proxy, **whole)

    def group(self, item: Item, known: Collection[str] | None, fix: str) -> dict[str, Item]:
        """The entries of a mapping whose keys are `known` (None: all are). Unknown keys are reported. One that stands
        for a required key is then read as that one: its value is checked, too, and nothing is reported as missing."""
        written: dict[str, Item] = {}
        with self.noting(item.problem):
            written = entries(item, fix, self.problems)
        found = {key: entry for key, entry in written.items() if known is None or key in known}
        for key in written.keys() - found.keys():
            mistake, meant, entry = unknown_key(key, known or (), written[key])
            self.problems.append(entry.key_problem(mistake))
            if meant in REQUIRED:
                found.setdefault(meant, entry)
        return found

    def elements(self, item: Item | None) -> list[Item]:
        """Those of a list; an empty one is noted."""
        if item is not None:
            with self.noting(item.problem):
                return elements(item)
        return []

    def read(self, item: Item, parse: Callable[[str], Any]) -> Any:
        """The result of `parse` for a single value. If the value is invalid, notes a problem and returns BAD."""
        with self.noting(item.problem):
            text = scalar(item)
            check_variable(text)
            return parse(text)
        return BAD

    def port(self, item: Item, of_service: bool) -> Any:
        """Like `read`, for one port."""
        with self.noting(item.problem):
            check_port_group(singles(item))
            return self.read(item, partial(parse_port, of_service=of_service))
        return BAD

    def parser(self, option: Option) -> Callable[[str], Any]:
        return partial(option.parse, folder=self.folder) if option.relative else option.parse

    def options(self, group: dict[str, Item], base: dict[str, Any]) -> dict[str, Any]:
        """The options of a group merged over those of `base`, with flat keys: "hold", "reconnect.max"."""
        own = {key: self.read(item, self.parser(OPTIONS[key])) for key, item in group.items() if key in OPTIONS}
        if "reconnect" not in group:
            return base | own
        times = self.group(group["reconnect"], RECONNECT, "Write it as in reconnect: {attempts: 5}.")
        own |= {f"reconnect.{key}": self.read(item, OPTIONS[f"reconnect.{key}"].parse) for key, item in times.items()}
        values = base | own
        first = values.get("reconnect.initial", Reconnect().initial)
        longest = values.get("reconnect.max", Reconnect().max)
        if BAD not in (first, longest) and first > longest:
            mistake = Mistake(f"initial ({first:g}s) is longer than max ({longest:g}s)", "Raise max or lower initial.")
            self.problems.append(group["reconnect"].problem(mistake))
        return values

    def forwards(self, name: str, item: Item, base: dict[str, Any]) -> list[Forward]:
        """The forwards declared under one name, one for each port."""
        with self.noting(item.key_problem):
            parse_forward_name(name)
        group = self.group(item, FORWARD, "Give it a target and ports.")
        if kind_of(item.node) != "a group of keys":
            return []
        values = self.options(group, base)
        target: Any = values.get("target", values.get("selector"))
        if "target" in group and "selector" in group:
            mistake = Mistake("a selector beside a target", "Keep one of the two.")
            self.problems.append(group["selector"].key_problem(mistake))
        elif target is None:
            mistake = Mistake("neither a target nor a selector", "Add one, such as target: service/web.")
            self.problems.append(item.key_problem(mistake))
        if "ports" not in group:
            self.problems.append(item.key_problem(Mistake("no ports", 'Add them, such as ports: "8080:http".')))
            return []
        ports = self.ports(group["ports"], target, values.get("address", "localhost"))
        shared = _shared(values)
        if values.get("each") is True and target is not BAD and target is not None and target.kind == "pod":
            mistake = Mistake("each: true with a target that is one pod", "Name a workload, a service or a selector.")
            self.problems.append(group["each"].problem(mistake))
        found = [
            Forward(id=id, target=target, local=local, remote=remote, **shared)
            for id, (local, remote) in zip(ids_of(name, ports), ports, strict=True)
        ]
        self.each += found if values.get("each") is True else []
        return found

    def ports(self, item: Item, target: Any, address: Any) -> list[Port]:
        """The ports of one forward. Claims its local ports."""
        of_service = target is BAD or target is None or target.kind == "service"
        ports: list[Port] = []
        for element in self.elements(item):
            port = self.port(element, of_service)
            if port is BAD:
                continue
            with self.noting(element.problem):
                if port[0] is None and port in ports:
                    raise Mistake("the same port once more", "Remove it, or give it a local port.")
                if port[0] is not None and address is not BAD:
                    self.claim(element, port[0], address)
            ports.append(port)
        return ports

    def claim(self, item: Item, local: int, address: str) -> None:
        """Note that `item` uses a local port. Raises Mistake if an earlier item uses it on an overlapping address."""
        holders: list[Item] = []
        for ip in map(ip_address, ("127.0.0.1", "::1") if address == "localhost" else (address,)):
            taken = self.claims.setdefault((local, ip.version), {})
            anywhere = ip_address("0.0.0.0" if ip.version == 4 else "::")
            overlapping = taken if ip == anywhere else (ip, anywhere)
            holders += [taken[other] for other in overlapping if other in taken]
            taken.setdefault(ip, item)
        if holders:
            first = holders[0]
            raise Mistake(
                f"local port {local} is taken by {first.path} in line {first.node.start_mark.line + 1}",
                "Choose another local port for one of them.",
            )


def _template(values: dict[str, Any]) -> Forward:
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
