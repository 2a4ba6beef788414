"""The configuration file: YAML to a Config, or to all that is wrong with it at once."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

from supervisor.model import LONGEST_SOCKET, TEMPLATE, Cluster, Config, Forward, Reconnect
from supervisor.notation import (
    parse_address,
    parse_attempts,
    parse_bool,
    parse_children,
    parse_context,
    parse_duration,
    parse_forward_name,
    parse_idle_timeout,
    parse_namespace,
    parse_notify,
    parse_port,
    parse_positive_duration,
    parse_protocol,
    parse_selector_target,
    parse_target,
)
from supervisor.problems import ConfigError, Mistake, Problem, quote
from supervisor.schema import DEFAULTS, FORWARD, RECONNECT, TOP, schema
from supervisor.yaml_marks import Item, compose, elements, entries, kind, scalar

__all__ = ["ConfigError", "Problem", "load", "parse", "schema"]

Port = tuple[int | None, int | str]  # (local, None for any free one; remote)
PIPES = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")  # what shells call those that a user names on purpose
EXAMPLE = "Write for example forwards: {web: {target: service/web, ports: 8080}}."
LARGEST = 200_000  # bytes; PyYAML reads about 100 kB/s
BAD: Any = object()  # stands for a value that was reported, so that nothing is concluded from it

# The options with a single value; those of reconnect are flat here, so that each overrides its default alone.
PARSERS: dict[str, Callable[[str], Any]] = {
    "target": parse_target,
    "selector": parse_selector_target,
    "context": parse_context,
    "namespace": parse_namespace,
    "address": parse_address,
    "hold": parse_duration,
    "lazy": parse_bool,
    "idle_timeout": parse_idle_timeout,
    "children": parse_children,
    "protocol": parse_protocol,
    "notify": parse_notify,
    "reconnect.attempts": parse_attempts,
    "reconnect.initial": parse_positive_duration,
    "reconnect.max": parse_positive_duration,
    "enabled": parse_bool,
    "persist": parse_bool,
}
PLAIN = (
    "namespace",
    "address",
    "hold",
    "lazy",
    "idle_timeout",
    "children",
    "protocol",
    "notify",
    "enabled",
)  # as Forward has them
WHOLE = ("kubectl", "socket", "persist")  # as Config has them


class NotAFile(OSError):
    """It is a pipe, a socket or a device. To read it might never end."""


def read(path: Path, limit: int = -1, pipe: bool = False) -> tuple[bytes, os.stat_result]:
    """The content of a regular file, of its first `limit` bytes, and what it was then. Where a `pipe` may be read, too,
    one that was named on purpose (/dev/stdin, <(…) in a shell) is read to its end; nothing else is waited for.
    Raises OSError; NotAFile for what is no regular file."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)  # a FIFO without a writer opens at once
    try:
        found = os.fstat(fd)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if stat.S_ISFIFO(found.st_mode) and pipe and str(path).startswith(PIPES):
            os.set_blocking(fd, True)
        elif not stat.S_ISREG(found.st_mode):
            what = "a pipe" if stat.S_ISFIFO(found.st_mode) else "a device"
            raise NotAFile(errno.EINVAL, f"it is {what}, not a regular file")
    except BaseException:
        os.close(fd)
        raise
    with open(fd, "rb") as file:
        return file.read(limit), found


def mark(found: os.stat_result) -> tuple[int, int, int, int]:
    """What changes with the content of a file, and where another takes its place."""
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


def load(path: Path, pipe: bool = False) -> Config:
    """The configuration in the file at `path`, or in a `pipe` (see `read`). Raises ConfigError with all that is
    wrong."""
    whole = partial(Problem, str(path), 0, 0, "")
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
        raise ConfigError([Problem(str(path), line, column, "", "not UTF-8 text", "Save the file as UTF-8.")]) from None
    return replace(parse(text, str(path)), mark=mark(found) if stat.S_ISREG(found.st_mode) else None)


def parse(text: str, name: str) -> Config:
    """The configuration in `text`; `name` is the file's path, for problems and for relative paths.

    Raises ConfigError with all that is wrong.
    """
    root = compose(text, name)
    if root is None:
        raise ConfigError([Problem(name, 1, 1, "", "the file is empty", EXAMPLE)])
    return _Reader(Path(name).parent).config(root)


class _Reader:
    """Reads one file and gathers its problems on the way; nothing is raised before the end."""

    def __init__(self, folder: Path) -> None:
        self.problems: list[Problem] = []
        self.claims: dict[tuple[int, int], dict[IPv4Address | IPv6Address, Item]] = {}  # by port and IP version
        self.parsers = PARSERS | {"kubeconfig": partial(_kubeconfig, folder), "kubectl": partial(_kubectl, folder)}
        self.parsers["socket"] = partial(_socket, folder)

    @contextmanager
    def noting(self, place: Callable[[Mistake], Problem]) -> Iterator[None]:
        try:
            yield
        except Mistake as mistake:
            self.problems.append(place(mistake))

    def config(self, root: Item) -> Config:
        top = self.group(root, TOP, EXAMPLE)
        base = self.options(top, {})
        whole = {key: base.pop(key) for key in WHOLE if key in base}
        if "defaults" in top and kind(top["defaults"].node) != "nothing":
            base = self.options(self.group(top["defaults"], DEFAULTS, "Write it as in defaults: {hold: 1m}."), base)
        named: dict[str, Item] = {}
        if "forwards" in top:
            mend = "Write each forward below its name: web: {target: service/web, ports: 8080}."
            if kind(top["forwards"].node) == "nothing":
                fix = EXAMPLE.replace("Write", "Write each below its name,")
                self.problems.append(top["forwards"].problem(Mistake("no forwards are declared", fix)))
            else:
                named = self.group(top["forwards"], None, mend)
        elif top:
            self.problems.append(root.problem(Mistake("no forwards", "Write them below the line forwards:.")))
        forwards = [forward for name, item in named.items() for forward in self.forwards(name, item, base)]
        if self.problems:
            raise ConfigError(self.problems)
        return Config(tuple(forwards), replace(TEMPLATE, **_shared(base)), **whole)

    def group(self, item: Item, known: Collection[str] | None, mend: str) -> dict[str, Item]:
        """The entries of a mapping, without those whose key is not `known` (None: any is)."""
        found: dict[str, Item] = {}
        with self.noting(item.problem):
            found = entries(item, mend, self.problems)
        unknown = [key for key in found if known is not None and key not in known]
        self.problems += [found[key].key_problem(_unknown(key, known or ())) for key in unknown]
        return {key: entry for key, entry in found.items() if key not in unknown}

    def read(self, item: Item, parse: Callable[[str], Any]) -> Any:
        """What `parse` makes of a single value; BAD, and a problem more, if it is mistaken."""
        with self.noting(item.problem):
            return parse(scalar(item))
        return BAD

    def options(self, group: dict[str, Item], base: dict[str, Any]) -> dict[str, Any]:
        """The options of a group over those of `base`, flat: "hold", "reconnect.max"."""
        own = {key: self.read(item, self.parsers[key]) for key, item in group.items() if key in self.parsers}
        if "reconnect" not in group:
            return base | own
        times = self.group(group["reconnect"], RECONNECT, "Write it as in reconnect: {attempts: 5}.")
        own |= {f"reconnect.{key}": self.read(item, PARSERS[f"reconnect.{key}"]) for key, item in times.items()}
        values = base | own
        first = values.get("reconnect.initial", Reconnect().initial)
        longest = values.get("reconnect.max", Reconnect().max)
        if BAD not in (first, longest) and first > longest:
            mistake = Mistake(f"initial ({first:g}s) is longer than max ({longest:g}s)", "Raise max or lower initial.")
            self.problems.append(group["reconnect"].problem(mistake))
        return values

    def forwards(self, name: str, item: Item, base: dict[str, Any]) -> list[Forward]:
        """What is declared under one name: a forward for each of its ports."""
        with self.noting(item.key_problem):
            parse_forward_name(name)
        group = self.group(item, FORWARD, "Give it a target and ports.")
        if kind(item.node) != "a group of keys":
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
        return [
            Forward(id=id, target=target, local=local, remote=remote, **shared)
            for id, (local, remote) in zip(_ids(name, ports), ports, strict=True)
        ]

    def ports(self, item: Item, target: Any, address: Any) -> list[Port]:
        """The ports of one forward, the local ones among them claimed."""
        of_service = target is BAD or target is None or target.kind == "service"
        listed: list[Item] = []
        with self.noting(item.problem):
            listed = elements(item)
        ports: list[Port] = []
        for element in listed:
            port = self.read(element, partial(parse_port, of_service=of_service))
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
        """Notes who takes a local port. Raises Mistake if somebody above has it on an address that overlaps."""
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


def _shared(values: dict[str, Any]) -> dict[str, Any]:
    """From flat options, those of a Forward that do not say what it leads to."""
    times = {key.removeprefix("reconnect."): value for key, value in values.items() if key.startswith("reconnect.")}
    return {key: values[key] for key in PLAIN if key in values} | {
        "cluster": Cluster(values.get("kubeconfig"), values.get("context")),
        "reconnect": Reconnect(**times),
    }


def _ids(name: str, ports: list[Port]) -> list[str]:
    """`name`, or for several ports `name/REMOTE`, with `LOCAL:` where some of them lead to the same remote port."""
    if len(ports) == 1:
        return [name]
    shared = Counter(remote for _, remote in ports)
    return [
        f"{name}/{local}:{remote}" if local is not None and shared[remote] > 1 else f"{name}/{remote}"
        for local, remote in ports
    ]


def _unknown(key: str, known: Collection[str]) -> Mistake:
    """What to say of a key that is not `known`: where it belongs, or what was meant."""
    homes = {
        "under reconnect": RECONNECT,
        "under a forward or defaults": DEFAULTS,
        "under a forward": FORWARD,
        "at the top of the file": TOP,
    }
    for home, keys in homes.items():
        if key in keys:
            return Mistake(f"{key} has no place here", f"It belongs {home}.")
    near = get_close_matches(key, known, 1)
    mend = f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(known)}."
    return Mistake(f"unknown key {quote(key)}", mend)


def _kubeconfig(folder: Path, text: str) -> Path:
    path = folder.joinpath(os.path.expanduser(text)).absolute()
    if not text or not os.path.exists(path) or os.path.isdir(path):
        raise Mistake(f"there is no file {quote(text)}", f"Write a path from {folder.absolute()}, or from ~ or /.")
    return path


def _kubectl(folder: Path, text: str) -> str:
    """A name to look up on PATH as it is, anything else as a path."""
    if text and "/" not in text:
        return text
    path = str(folder.joinpath(os.path.expanduser(text)).absolute())
    if not shutil.which(path):
        raise Mistake(f"{quote(text)} is not a program", "Write kubectl, or the path of one that is executable.")
    return path


def _socket(folder: Path, text: str) -> Path:
    path = folder.joinpath(os.path.expanduser(text)).absolute()
    if not text or path.is_dir():
        raise Mistake(f"{quote(text)} cannot be a socket", "Write the path of a file, such as ~/.kpf.sock.")
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise Mistake(f"the socket's path is longer than {LONGEST_SOCKET} bytes", "Write a shorter one.")
    return path
