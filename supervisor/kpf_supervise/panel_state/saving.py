"""Adds a forward to the configuration file: only its own lines, and only if the file then declares exactly one forward
more. Comments and all other lines stay as they are."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from kpf_supervise.config.errors import ConfigError
from kpf_supervise.loading.file import read
from kpf_supervise.loading.loader import LARGEST, parse
from kpf_supervise.text import shorten

# What a forward that was started beside the file may have of its own.
_OWN = ("namespace", "context", "kubeconfig", "address", "hold", "lazy", "children")


class NotSaved(Exception):
    """The file is as it was; the message says why, and what to do."""


def lines_of(forward: dict[str, Any], described: dict[str, Any], context: str | None) -> list[str]:
    """The lines that declare a forward of the control protocol, without indentation. `described` is the answer of
    `describe`; `context` is the one that the file uses anyway."""
    local, remote = forward["localPort"], forward["remote"]
    kind = "selector" if forward["resourceType"] == "selector" else "target"
    values: dict[str, Any] = {kind: forward["target"], "ports": f"{local or ''}:{remote}"}
    for name in _OWN:
        value = described["settings"].get(name)
        if name in described["own"] and (name, value) != ("context", context):
            values[name] = value
    return [f"{forward['id']}:", *(f"  {name}: {_scalar(value)}" for name, value in values.items())]


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
        return f'"{escaped}"' if _needs_quotes(value) else value
    return "true" if value is True else "false" if value is False else str(value)


def _needs_quotes(text: str) -> bool:
    return not all(char.isalnum() or char in "/._-" for char in text) or text[:1] in "-." or not text[:1].isalpha()


def append(path: Path, id: str, lines: list[str]) -> None:
    """Add the lines that declare the forward `id` to the file at `path`. Raises NotSaved."""
    try:
        before = read(path, LARGEST + 1, False)[0].decode()
        after = inserted(before, lines)
        _check(before, after, path.name, id)
        _replace(path, after)
    except OSError as error:
        raise NotSaved(f"{shorten(str(path))} can't be written: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise NotSaved("the file is not UTF-8 text") from None
    except ConfigError as error:
        raise NotSaved(f"the file would be wrong then: {error.problems[0]}") from None


def inserted(text: str, lines: list[str]) -> str:
    """The text with the lines added at the end of its `forwards:`. Raises NotSaved if there is no place for them."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        raise NotSaved("the file has a mistake; fix it first") from None
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise NotSaved("the file's forwards are written in braces: add the lines yourself")
    value = next((value for key, value in root.value if key.value == "forwards"), None)
    if not isinstance(value, yaml.CollectionNode) or value.flow_style or not value.value:
        raise NotSaved("the file's forwards are not written one below the other: add the lines yourself")
    if isinstance(value, yaml.SequenceNode):
        lines = [f"- name: {lines[0].removesuffix(':')}", *lines[1:]]
    indent = value.start_mark.column
    at = max(_last_line(value)) + 1
    known = text.splitlines(keepends=True)
    if known and not known[-1].endswith("\n"):
        known[-1] += "\n"
    return "".join([*known[:at], *(f"{' ' * indent}{line}\n" for line in lines), *known[at:]])


def _last_line(node: yaml.Node) -> Iterator[int]:
    """The lines on which a value ends; the last one is where the block ends, whatever comments follow."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        for key, value in node.value:
            yield key.end_mark.line
            yield from _last_line(value)
    elif isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        for value in node.value:
            yield from _last_line(value)
    elif isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        yield node.end_mark.line - 1
    else:
        yield node.end_mark.line


def _check(before: str, after: str, name: str, id: str) -> None:
    """Raises NotSaved, or ConfigError."""
    try:
        old = parse(before, name, os.environ).forwards
    except ConfigError as error:  # a variable may be set for the instance, and not here
        raise NotSaved(f"the file can't be read here: {error.problems[0]}") from None
    new = parse(after, name, os.environ).forwards
    if tuple(each for each in new if each.id != id) != old or len(new) != len(old) + 1:
        raise NotSaved(f"the file declares {id} already, or its other forwards would change: add the lines yourself")


def _replace(path: Path, text: str) -> None:
    """Replace the file at once, with its owner and mode; a symbolic link keeps leading to it."""
    real = path.resolve()
    found = real.stat()
    fd, new = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}.")
    try:
        with os.fdopen(fd, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(new, found.st_mode & 0o7777)
        if (found.st_uid, found.st_gid) != (os.getuid(), os.getgid()):
            os.chown(new, found.st_uid, found.st_gid)
        os.replace(new, real)
    except BaseException:
        os.unlink(new)
        raise
