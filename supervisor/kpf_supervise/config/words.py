"""Target and ports as words of a command line, written as for kubectl port-forward. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from kpf_supervise.config.errors import Mistake
from kpf_supervise.config.habits import Meant
from kpf_supervise.config.target_kinds import KINDS
from kpf_supervise.config.values import parse_port, parse_selector_target, parse_target
from kpf_supervise.model import Target
from kpf_supervise.text import quote, shorten

Port = tuple[int | None, int | str]  # (local, None for any free port; remote)
_LONGEST = 55  # characters of a name that is made from a target's; a port or a number may follow


def read_words(
    words: Sequence[str], selector: str | None, call: str, any_local: bool = False
) -> tuple[Target, list[Port]]:
    """`TARGET [LOCAL:]REMOTE...`, or the ports alone where there is a selector. `call` is how the command is called,
    for the fix. With `any_local`, a port without LOCAL has any free one. Raises Mistake."""
    try:
        if selector is not None:
            if words and is_target(words[0]):
                raise Mistake(f"the target {quote(words[0])} beside a selector", "Keep one of the two.")
            target, ports, shown = parse_selector_target(selector), words, f"-l {shorten(selector)}"
        else:
            if words[0].lower() in KINDS and len(words) > 1:
                meant = f"{words[0]}/{shorten(words[1])}"
                fix = " ".join([call, meant, *map(shorten, words[2:])])
                raise Mistake(f"the target {meant} in two words", f"Write: {fix}")
            target, ports, shown = parse_target(words[0]), words[1:], words[0]
    except Meant as meant:
        raise Mistake(meant.message, f"Write: {call} {meant.words}") from None
    if not ports:
        example = "8080" if any_local else "8080:http"
        raise Mistake(f"{shown} has no port", f"Name the port to forward, for example: {call} {shown} {example}")
    pairs: list[Port] = []
    for text in ports:
        written = f":{text}" if any_local and ":" not in text else text
        pair = parse_port(written, of_service=target.kind == "service")
        if pair[0] is None and pair in pairs:
            raise Mistake(f"the port {quote(text)} once more", "Remove it, or give it a local port.")
        if pair[0] is not None and pair[0] in {local for local, _ in pairs}:
            raise Mistake(f"local port {pair[0]} is taken by a port before it", "Choose another one, or write :REMOTE.")
        pairs.append(pair)
    return target, pairs


def is_target(text: str) -> bool:
    """Whether it is written KIND/NAME, with a kind that can be a target."""
    kind, slash, _ = text.partition("/")
    return bool(slash) and kind.lower() in KINDS


def is_port(text: str) -> bool:
    """Whether it is written [LOCAL:]REMOTE, whatever the target."""
    try:
        parse_port(text, of_service=True)
    except Mistake:
        return False
    return True


def forward_name(text: str) -> str:
    """A forward's name, made from the name of its target or from a label selector."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:_LONGEST] or "forward"


def ids_of(name: str, ports: Sequence[Port]) -> list[str]:
    """`name`, or for several ports `name/REMOTE`, or `name/LOCAL:REMOTE` where some share the same remote port."""
    if len(ports) == 1:
        return [name]
    shared = Counter(remote for _, remote in ports)
    return [
        f"{name}/{local}:{remote}" if local is not None and shared[remote] > 1 else f"{name}/{remote}"
        for local, remote in ports
    ]
