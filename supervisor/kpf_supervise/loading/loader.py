"""Loads the configuration file: turns YAML into a Config, or reports all its mistakes at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

from kpf_supervise.config.contents import Config
from kpf_supervise.config.errors import ConfigError, FileMistake, Mistake
from kpf_supervise.config.options import OF_FILE, OPTIONS, Option
from kpf_supervise.config.schema import DEFAULTS, OWN, RECONNECT, TOP
from kpf_supervise.loading.file import NotAFile, mark, read
from kpf_supervise.loading.forwards import EXAMPLE, Declared, read_forwards, template
from kpf_supervise.loading.interpolation import expand
from kpf_supervise.loading.proxy import read_proxy
from kpf_supervise.loading.reader import BAD
from kpf_supervise.loading.service_groups import read_services
from kpf_supervise.loading.unknown_keys import unknown_key
from kpf_supervise.loading.yaml_nodes import Item, compose, elements, entries, scalar
from kpf_supervise.loading.yaml_nodes import kind as kind_of
from kpf_supervise.model import Reconnect

LARGEST = 200_000  # bytes; PyYAML reads about 100 kB/s
REQUIRED = ("forwards", "target", "selector", "ports")


def load(path: Path, pipe: bool = False) -> Config:
    """The configuration in the file at `path`, with the variables of this process. With `pipe`, it may be a pipe (see
    `file.read`). Raises ConfigError with all mistakes."""
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
    return replace(parse(text, str(path), os.environ), mark=mark(found) if stat.S_ISREG(found.st_mode) else None)


def parse(text: str, name: str, environment: Mapping[str, str] | None = None) -> Config:
    """The configuration in `text`; `name` is the file's path, for error messages and relative paths. Variables in its
    values are those of `environment`; if that is None, each value is taken as it stands.

    Raises ConfigError with all mistakes.
    """
    root = compose(text, name)
    if root is None:
        raise ConfigError([FileMistake(name, 1, 1, "", "the file is empty", EXAMPLE)])
    return _Reader(Path(name).parent, environment).config(root)


class _Reader:
    """Reads one file. Collects the problems, and raises them at the end."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None) -> None:
        self.problems: list[FileMistake] = []
        self.claims: dict[tuple[int, int], dict[IPv4Address | IPv6Address, Item]] = {}  # by port and IP version
        self.folder = folder
        self.environment = environment

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
        declared: list[Declared] = []
        if "forwards" in top:
            declared = read_forwards(self, top["forwards"], base)
        elif (top or not self.problems) and not top.keys() & {"services", "proxy"}:
            self.problems.append(root.problem(Mistake("no forwards", "Write them below the line forwards:.")))
        services = read_services(self, top["services"], base, template) if "services" in top else []
        proxy = read_proxy(self, top["proxy"], base, template) if "proxy" in top else None
        if (metrics := whole.get("metrics", BAD)) is not BAD:
            with self.noting(top["metrics"].problem):
                self.claim(top["metrics"], metrics[1], metrics[0])
        if self.problems:
            raise ConfigError(self.problems)
        plain, each = (tuple(it for one in declared if one.each is of for it in one.forwards) for of in (False, True))
        return Config(plain, each, tuple(services), template(base), proxy, **whole)

    def group(self, item: Item, known: Collection[str] | None, fix: str) -> dict[str, Item]:
        """The entries of a mapping whose keys are `known` (None: all are). Unknown keys are reported. One that stands
        for a required key is then read as that one: its value is checked, too, and nothing is reported as missing."""
        written: dict[str, Item] = {}
        with self.noting(item.problem):
            written = entries(item, fix, self.problems)
        found = {key: entry for key, entry in written.items() if known is None or key in known}
        for key in written.keys() - found.keys():
            if known is TOP and key.startswith(OWN):
                continue
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
            if self.environment is None or "$" not in text:
                return parse(text)
            expanded = expand(text, self.environment)
            try:
                return parse(expanded.text)
            except Mistake as mistake:
                raise expanded.told(mistake) from None
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
