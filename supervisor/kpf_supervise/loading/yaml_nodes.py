"""Parses YAML into values that know their key path, line and column.

No type is guessed: each scalar stays the text that the user wrote. This avoids the surprises of YAML 1.1 (2222:22 is
133342, 017 is 15, `on` is true). The caller that reads a value decides its type.
"""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from kpf_supervise.config.errors import ConfigError, FileMistake, Mistake
from kpf_supervise.text import quote, shorten

MOST = 500_000  # characters of a file with its aliases expanded
DEEPEST = 50

# A part of PyYAML's message, our message, and the fix. The first match counts.
SYNTAX = (
    (r"'\t' that cannot start", "a tab where YAML wants spaces", "Indent with spaces."),
    ("that cannot start any token", "a value can't begin with this character", "Put the value in quotes."),
    (
        "mapping values are not",
        "a colon where no key can be",
        'Check the indentation, and the colon of the line above; put a value with ": " in it in quotes.',
    ),
    ("expected <block end>", "this line fits no block above", "Align it with its neighbours, and check the quotes."),
    ("expected ':'", "a key without a colon", 'Write "key: value", or indent a text that goes on.'),
    ("unexpected end of stream", "a quote that is never closed", "Close it."),
    ("expected ',' or", "a list or group without its closing bracket", "Close it, or add the missing comma."),
    ("found ':'", "a value that begins with a colon", 'Put it in quotes, as in ":80".'),
    ("undefined alias", "an alias (*name) without an anchor (&name) above it", "Add the anchor, or quote the text."),
    ("second occurrence", "an anchor (&name) that is there already", "Give it another name."),
    ("another document", "a second document begins here", "Keep one document in the file."),
    ("unknown escape", "an unknown escape in a text", "Double the backslash, or use single quotes."),
    ("", "this is not YAML", "Check the brackets, quotes and indentation here."),
)


@dataclass(frozen=True, slots=True)
class Item:
    """A value of the file, its key path "forwards.web.ports[1]", and the node of its key (in a list: its own node)."""

    node: yaml.Node
    path: str
    key: yaml.Node

    def problem(self, mistake: Mistake) -> FileMistake:
        return _problem(self.node.start_mark, self.path, mistake.message, mistake.fix)

    def reading(self, text: str) -> Item:
        """The same place, read as if this text stood there."""
        node = yaml.ScalarNode(self.node.tag, text, self.node.start_mark, self.node.end_mark)
        return Item(node, self.path, self.key)

    def key_problem(self, mistake: Mistake) -> FileMistake:
        return _problem(self.key.start_mark, self.path, mistake.message, mistake.fix)


def _problem(mark: yaml.Mark, path: str, message: str, fix: str) -> FileMistake:
    return FileMistake(mark.name, mark.line + 1, mark.column + 1, path, message, fix)


class _Loader(yaml.SafeLoader):
    """Treats every plain scalar as text."""


_Loader.yaml_implicit_resolvers = {}


def compose(text: str, file: str) -> Item | None:
    """The root of the one YAML document in `text`, None if there is none; `file` is the name for error messages.

    Raises ConfigError if the syntax is broken, and if aliases make the file endless or huge.
    """
    try:
        loader = _Loader(text)
        loader.name = file
        root = loader.get_single_node()
        if root is None:
            return None
        _weigh(root, {})
        return Item(root, "", root)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"the character U+{ord(text[error.position]):04X} is not allowed"
        raise ConfigError([FileMistake(file, line, column, "", message, "Remove it.")]) from None
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_syntax_problem(error)]) from None
    except (ValueError, OverflowError):  # from PyYAML's chr() on an escape
        raise ConfigError([_problem(loader.get_mark(), "", "an escape for no character", "Remove it.")]) from None
    except RecursionError:
        raise ConfigError([FileMistake(file, 0, 0, "", "nested too deeply", "Check the brackets.")]) from None


def _syntax_problem(error: yaml.MarkedYAMLError) -> FileMistake:
    says = error.problem or ""
    opened = "end of stream" in says or "expected ':'" in says  # the cause is where it began, not where it was found
    mark = error.context_mark if opened else error.problem_mark
    assert mark is not None
    if mark.buffer is not None and mark.buffer[max(mark.pointer - 1, 0) : mark.pointer + 1] == "${":
        return _problem(mark, "", "a variable in brackets or braces, without quotes", 'Put it in quotes: "${NAME}".')
    message, fix = next((message, fix) for part, message, fix in SYNTAX if part in says)
    return _problem(mark, "", message, fix)


def _weigh(node: yaml.Node, seen: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """The size in characters and the depth of a value with its aliases expanded.

    Takes linear time in the size of the file, however much the aliases multiply. A value that passes can be walked
    safely: it has no cycles and is no alias bomb. Raises ConfigError for any other value.
    """
    if id(node) in seen:
        known = seen[id(node)]
        if known is None:
            raise ConfigError(
                [_problem(node.start_mark, "", "a value that contains itself", "Remove the alias in it.")]
            )
        return known
    seen[id(node)] = None
    size, depth = 1 + len(node.value), 1
    for part in _parts(node):
        part_size, part_depth = _weigh(part, seen)
        size, depth = size + part_size, max(depth, 1 + part_depth)
    if size > MOST or depth > DEEPEST:
        message = "a value that its aliases make too large" if size > MOST else "a value that is nested too deeply"
        raise ConfigError([_problem(node.start_mark, "", message, "Write it out more plainly.")])
    seen[id(node)] = size, depth
    return size, depth


def _parts(node: yaml.Node) -> list[yaml.Node]:
    match node:
        case yaml.MappingNode():
            return [part for pair in node.value for part in pair]
        case yaml.SequenceNode():
            return list(node.value)
        case _:
            return []


def kind(node: yaml.Node) -> str:
    """What kind of value this is, in words for the user."""
    if not node.tag.startswith("tag:yaml.org,2002:"):
        return f"something with the tag {quote(node.tag)}"
    match node:
        case yaml.ScalarNode(style=None, value="" | "~" | "null" | "Null" | "NULL") | yaml.MappingNode(value=[]):
            return "nothing"
        case yaml.ScalarNode():
            return "a single value"
        case yaml.SequenceNode():
            return "a list"
        case _:
            return "a group of keys"


def is_empty(item: Item) -> bool:
    """Whether it is a group without keys, written as {}."""
    return isinstance(item.node, yaml.MappingNode) and not item.node.value


def scalar(item: Item) -> str:
    """The text of a single value, without YAML's type conversion. Raises Mistake."""
    found = kind(item.node)
    if found == "nothing":
        raise Mistake("no value", "Write one, or remove the key.")
    if found != "a single value":
        raise Mistake(f"{found} where a single value belongs", "Write it as one text, in quotes if it has a colon.")
    text: str = item.node.value
    if not text.isprintable():
        raise Mistake(f"{quote(text)} has a line break or another invisible character", "Remove it.")
    return text


def singles(item: Item) -> dict[str, str]:
    """Those entries of a group of keys that are single values; empty for anything else."""
    pairs = item.node.value if kind(item.node) == "a group of keys" else ()
    return {
        key.value: node.value
        for key, node in pairs
        if isinstance(key, yaml.ScalarNode) and isinstance(node, yaml.ScalarNode)
    }


def elements(item: Item) -> list[Item]:
    """The elements of a list; a single value counts as a list of one. Raises Mistake if the list is empty."""
    if kind(item.node) != "a list":
        return [item]
    if not item.node.value:
        raise Mistake("an empty list", "Write at least one element.")
    return [Item(node, f"{item.path}[{index}]", node) for index, node in enumerate(item.node.value)]


def entries(item: Item, fix: str, problems: list[FileMistake]) -> dict[str, Item]:
    """The entries of a mapping by key, with merge keys (<<) applied. Mistakes in its keys are added to `problems`.

    Raises Mistake, with `fix`, for anything but a mapping.
    """
    if kind(item.node) != "a group of keys":
        raise Mistake(f"{kind(item.node)} where a group of keys belongs", fix)
    found: dict[str, Item] = {}
    for key, node in item.node.value:
        if not isinstance(key, yaml.ScalarNode) or not key.value.isprintable():
            problems.append(Item(key, item.path, key).problem(Mistake("a key that is not one word", "Write one word.")))
            continue
        entry = Item(node, f"{item.path}.{shorten(key.value)}" if item.path else shorten(key.value), key)
        if key.value in found:
            first = found[key.value].key.start_mark.line + 1
            problems.append(
                entry.key_problem(Mistake(f"this key is in line {first} already", "Remove one of the two."))
            )
        found.setdefault(key.value, entry)
    merge = found.pop("<<", None)
    for source in elements(merge) if merge else []:
        try:
            inherited = entries(
                Item(source.node, item.path, source.key), "Merge an anchored group: <<: *name.", problems
            )
        except Mistake as mistake:
            problems.append(source.problem(mistake))
        else:
            found = inherited | found
    return found
