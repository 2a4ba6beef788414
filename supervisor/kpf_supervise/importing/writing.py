"""Writes what was found as a file of ours: every value that the loader accepts, and all else as a comment. Pure."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kpf_supervise.config.errors import ConfigError, FileMistake
from kpf_supervise.importing.found import VARIABLE, Entry, Found
from kpf_supervise.loading.loader import LARGEST, parse
from kpf_supervise.text import redact

_PLAIN = re.compile(r"(?!(true|false|null|yes|no|on|off|y|n)$)[a-z][a-z0-9._/-]*", re.IGNORECASE)
_LONGEST = 300  # characters of a comment
_LONGEST_ID = 40  # characters, before what makes it unique
_CLASH = re.compile(r"local port (\d+) is taken by forwards\.(.+?)\.ports")
_ORDER = ("target", "selector", "ports", "namespace", "context", "kubeconfig", "address", "exclude", "lazy", "enabled")
_FILE = "kpf.yaml"  # what the loader calls it


@dataclass(frozen=True, slots=True)
class Written:
    """`lost`: what is not kept, each with the place where it stands in the file that is imported."""

    text: str
    forwards: int  # with the groups of services
    lost: tuple[str, ...]


def write(found: Found, source: str) -> Written:
    """The text of a file that passes --check, unless it declares nothing. `source` is the name of what is imported.
    Nothing of it gets into the text or a message but as one line of printable text, and quoted where it is a value."""
    return _Writer(found, source).written()


class _Writer:
    def __init__(self, found: Found, source: str) -> None:
        self._found = found
        self._source = source
        self._lost: list[str] = []
        self._ids: dict[str, str] = {}  # with their namespaces
        self._groups = 0  # of services that are kept

    def written(self) -> Written:
        top = self._top()
        imported = f"Imported from {self._source} ({self._found.tool}) by kpf-supervise --import."
        head = [f"# {_comment(line)}" for line in self._found.head or (imported,)]
        head += [f"# {self._lose(where, text)}" for where, text in self._found.lost]
        head += [f"{name}: {_scalar(value)}" for name, value in top.items()]
        head += ["defaults:"] if self._found.defaults else []
        head += [f"  {name}: {value}" for name, value in self._found.defaults.items()]
        text = "\n".join([*head, *self._services(top), *self._forwards()]) + "\n"
        if len(text.encode()) > LARGEST:
            self._lose("", "all of it: this is more than 200 kB, and no more is read. Split it")
        return Written(text, len(self._ids) + self._groups, tuple(self._lost))

    def _lose(self, where: str, text: str) -> str:
        told = _comment(": ".join(filter(None, (where, f"{self._found.left}: {text}"))))
        self._lost.append(told)
        return told

    def _top(self) -> dict[str, str]:
        """The options for the whole file. One that is wrong becomes each entry's: none may go to another cluster."""
        right: dict[str, str] = {}
        for name, value in self._found.top.items():
            if not _variable([value]) and not _why_not({name: value}):
                right[name] = value
                continue
            for entry in (*self._found.forwards, *self._found.services):
                entry.options.setdefault(name, value)
        return right

    def _forwards(self) -> list[str]:
        kept: dict[str, Entry] = {}
        comments: dict[str, list[str]] = {"": []}  # by the forward after which they stand
        seen: dict[str, str] = {}
        for entry in self._found.forwards:
            entry.options["ports"] = list(dict.fromkeys(entry.options.get("ports", [])))
            same = json.dumps(entry.options, sort_keys=True)
            beside = comments[next(reversed(kept), "")]
            why = entry.refused or _variable(entry.options.values()) or _why_not({"forwards": {"it": entry.options}})
            if why:
                beside += [f"  # {self._lose(entry.where, why)}", *_commented(_block(_id(entry), entry))]
            elif same in seen:
                beside.append(f"  # {self._lose(entry.where, f'it is the same as {seen[same]}')}")
            else:
                id = seen[same] = self._unique(entry)
                kept[id], comments[id] = entry, []
        self._free_taken_ports(kept)
        lines = ["forwards:"] if kept else ["# forwards:"] if comments[""] else []
        lines += comments[""]
        for id, entry in kept.items():
            lines += _block(id, entry)
            lines += [f"    # {self._lose(entry.where, text)}" for text in entry.lost]
            lines += comments[id]
        return lines

    def _free_taken_ports(self, kept: Mapping[str, Entry]) -> None:
        """A local port that an earlier forward has becomes any free one."""
        lines = ["forwards:", *(line for id, entry in kept.items() for line in _block(id, entry))]
        try:
            parse("\n".join(lines), _FILE, {})
        except ConfigError as error:
            holders: dict[str, str] = {}
            for problem in error.problems:
                _free(kept, problem, holders)
        for entry in kept.values():  # of two that are any free one now, one is enough
            entry.options["ports"] = list(dict.fromkeys(entry.options["ports"]))

    def _unique(self, entry: Entry) -> str:
        """Of two with the same name, the later one gets its namespace, its port or a number."""
        base = _id(entry)
        namespace, port = entry.options.get("namespace", ""), entry.options["ports"][0].rpartition(":")[2]
        beside = [] if namespace == self._ids.get(base) else [namespace]
        ends = [_word(each)[:15].rstrip("-._") for each in (*beside, port)]
        names = (f"{base}-{end}" for end in itertools.chain(filter(None, ends), itertools.count(2)))
        id = base
        while id in self._ids:
            id = next(names)
        self._ids[id] = namespace
        return id

    def _services(self, top: Mapping[str, str]) -> list[str]:
        lines: list[str] = []
        kept: list[dict[str, Any]] = []
        for entry in self._found.services:
            block = [f"  {'  ' if number else '- '}{line}" for number, line in enumerate(_options(entry))]
            why = entry.refused or _variable(entry.options.values())
            if why := why or _why_not({**top, "services": [*kept, entry.options]}):
                lines += [f"  # {self._lose(entry.where, why)}", *_commented(block)]
            else:
                lines += block
                kept.append(entry.options)
                self._groups += 1
            lines += [f"    # {self._lose(entry.where, text)}" for text in entry.lost]
        return [f"{'' if self._groups else '# '}services:", *lines] if lines else []


def _free(kept: Mapping[str, Entry], problem: FileMistake, holders: dict[str, str]) -> None:
    """`holders`: which forward has the port that another one wanted, too."""
    clash = _CLASH.match(problem.message)
    place = re.fullmatch(r"forwards\.(.+?)\.ports(?:\[(\d+)\])?", problem.key)
    if clash and place and (entry := kept.get(place[1])):
        at = int(place[2] or 0)
        remote = entry.options["ports"][at].rpartition(":")[2]
        entry.options["ports"][at] = f":{remote}"
        holder = holders[f"{place[1]} {clash[1]}"] = holders.get(f"{clash[2]} {clash[1]}", clash[2])
        entry.lost.append(f"the local port {clash[1]}, which {holder} has: any free one is taken")


def _block(id: str, entry: Entry) -> list[str]:
    return [f"  {id}:", *(f"    {line}" for line in _options(entry))]


def _commented(lines: Sequence[str]) -> list[str]:
    """To be used once it was corrected."""
    return [f"  # {line.removeprefix('  ')}" for line in lines]


def _options(entry: Entry) -> Iterable[str]:
    for name in sorted(entry.options, key=_ORDER.index):
        value = entry.options[name]
        if isinstance(value, list) and value:
            shown = [_port(each) if name == "ports" else _scalar(each) for each in value]
            yield f"{name}: {shown[0]}" if len(shown) == 1 else f"{name}: [{', '.join(shown)}]"
        elif value:
            yield f"{name}: {value if name in ('lazy', 'enabled') else _scalar(value)}"


def _port(text: str) -> str:
    return text if re.fullmatch(r"[1-9][0-9]{0,4}", text) else _quoted(text)


def _scalar(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    """In double quotes, on one line: what can't be printed is escaped. So is a dollar sign, unless the value is one for
    a comment, with a variable in it."""
    text = text if VARIABLE.search(text) else text.replace("$", "$$")
    return "".join(
        char if char.isprintable() else f"\\U{ord(char):08x}" if ord(char) > 0xFFFF else f"\\u{ord(char):04x}"
        for char in json.dumps(text, ensure_ascii=False)
    )


def _comment(text: str) -> str:
    clean = redact(text)
    return clean if len(clean) <= _LONGEST else f"{clean[:_LONGEST]}…"


def _word(text: str) -> str:
    """What of a text can stand in an id."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:_LONGEST_ID].rstrip("-._")


def _id(entry: Entry) -> str:
    return _word(entry.name) or _word(str(entry.options.get("target", "")).rpartition("/")[2]) or "forward"


def _variable(values: Iterable[Any]) -> str:
    """Why an entry can't be kept if its values are not known; empty if they are."""
    for value in values:
        for text in value if isinstance(value, list) else [value]:
            if found := VARIABLE.search(text):
                return f"what {found[0]} stands for is not known. Write it there"
    return ""


def _why_not(value: Mapping[str, Any]) -> str:
    """Why the loader does not take these values; empty if it does."""
    try:
        parse(_flow(value), _FILE, {})
    except ConfigError as error:
        wrong = [problem for problem in error.problems if problem.message != "no forwards"]
        return " ".join(f"{each.message}. {each.fix}" for each in wrong)
    return ""


def _flow(value: Any) -> str:
    """YAML on one line, each single value in quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _quoted(value)
