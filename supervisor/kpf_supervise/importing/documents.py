"""YAML, JSON and TOML as plain values in which each single value is the text that was written. Pure."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import yaml

from kpf_supervise.config.errors import ConfigError, FileMistake
from kpf_supervise.loading.yaml_nodes import compose

Group = dict[str, Any]


def read_yaml(text: str, file: str) -> list[Any]:
    """The documents of a file, empty ones left out. Raises ConfigError."""
    found, before = [], 0
    for part in re.split(r"(?m)^---(?=\s|$)", text):
        item = compose("\n" * before + part, file)  # so that the lines in messages are those of the file
        before += part.count("\n")
        if item is not None:
            found.append(_plain(item.node))
    return found


def read_json(text: str, file: str) -> Any:
    """Raises ConfigError."""
    try:
        return _texts(json.loads(text))
    except ValueError as error:
        line, column = getattr(error, "lineno", 0), getattr(error, "colno", 0)
        why = getattr(error, "msg", "") or str(error)
        raise ConfigError([FileMistake(file, line, column, "", f"this is not JSON: {why}", "Correct it.")]) from None
    except RecursionError:
        raise ConfigError([FileMistake(file, 0, 0, "", "nested too deeply", "Check the brackets.")]) from None


def read_toml(text: str, file: str) -> Any:
    """Raises ConfigError."""
    try:
        return _texts(tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        raise ConfigError([FileMistake(file, 0, 0, "", f"this is not TOML: {error}", "Correct it.")]) from None


def _plain(node: yaml.Node) -> Any:
    """Merge keys are applied; of a key that is there twice, the last one counts, as in most readers."""
    match node:
        case yaml.MappingNode():
            group: Group = {}
            for key, value in node.value:
                name = key.value if isinstance(key, yaml.ScalarNode) else ""
                if name == "<<":
                    for inherited in as_list(_plain(value)):
                        group = {**as_group(inherited), **group}
                else:
                    group[name] = _plain(value)
            return group
        case yaml.SequenceNode():
            return [_plain(each) for each in node.value]
        case yaml.ScalarNode():
            plain_null = node.style is None and node.value in ("", "~", "null", "Null", "NULL")
            return None if plain_null else str(node.value)
        case _:
            return None


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _texts(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_texts(each) for each in value]
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_group(value: Any) -> Group:
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """A single value counts as a list of one, nothing as an empty one."""
    return value if isinstance(value, list) else [] if value is None else [value]


def as_text(value: Any) -> str:
    """Empty for nothing, and for what is no single value."""
    return value if isinstance(value, str) else ""


def groups(value: Any, path: str) -> Iterator[tuple[str, Group]]:
    """The groups of a list, each with its path."""
    for number, each in enumerate(as_list(value)):
        yield f"{path}[{number}]", as_group(each)
