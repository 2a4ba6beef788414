"""Blots out what looks like a credential in words that are not ours, before anybody sees them. Pure."""

from __future__ import annotations

import re

_KEY = (
    r"(?:authorization|token|password|passwd|passphrase|secret|cookie|api[-_]?key|(?:client|private)[-_]key)"
    r"(?!s\b)[\w.-]{0,40}"
)
_SCHEME = r"(?:(?:bearer|basic|digest|negotiate|token)\s++)?+"
_OPEN = r"[\s\"'\[\\]*+"  # between the key's sign and the value; \" is a quote inside a quoted text
_BARE = r"[^\s\"'&}\]\\]*[^\s\"'&}\]\\,;.)]"

# Each keeps what is in `before`.
_PATTERNS = [
    # kubectl 1.20 shows a part of a kubeconfig that it can't read
    re.compile(r"(?P<before>error found in #\d+ byte of ).*"),
    re.compile(r"(?P<before>-----BEGIN [A-Z ]*PRIVATE KEY-----).*"),
    # https://user:password@host, the password perhaps with blanks in it; but not https://host:port/… and an @ later on
    re.compile(r"(?P<before>//[^/@\s:\"'\[]*:)(?!\d{1,5}(?:[/?\s\"',)]|$))(?:[^\s\"']+(?=@)|[^@\"']+(?=@))"),
    re.compile(r"(?P<before>//)[^/@\s:\"'\[\]]+(?=@)"),
    # "key": "a value with blanks", which may be cut off
    re.compile(rf"(?i)(?P<before>{_KEY}[\"']?\s*[=:]\s*(?P<quote>[\"']){_SCHEME})(?:(?!(?P=quote)).)+"),
    # key=value, key: value, Authorization: Bearer value, --key value
    re.compile(rf"(?i)(?P<before>{_KEY}[\"'\\]*\s*[=:]{_OPEN}{_SCHEME})(?!\*\*\*){_BARE}"),
    re.compile(rf"(?i)(?P<before>--[\w.-]{{0,40}}{_KEY}\s+[\"']?)(?!-|\*\*\*){_BARE}"),
    re.compile(rf"(?i)(?P<before>\b(?:bearer|basic)\s+)(?!tokens?\b|auth(?:entication)?\b|realm|\*\*\*){_BARE}"),
    re.compile(r"(?P<before>\b)eyJ[\w-]{5,}(?:\.[\w-]*)*"),  # a JWT
    re.compile(r"(?P<before>\b)LS0tLS[\w+/=]*"),  # the base64 of a PEM
    re.compile(r"(?P<before>^\s*)[A-Za-z0-9+/]{60,}={0,2}(?=\s*$)"),  # a line of one
]
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline: a terminal might obey them
_LONGEST = 4000  # characters of a line; kubectl -v=9 writes whole answers as one


def scrub(text: str) -> str:
    """The same line with whatever looks like a credential blotted out, without control characters and the end of one
    that is very long."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
    text = _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)
    for pattern in _PATTERNS:
        text = pattern.sub(lambda found: f"{found['before']}***", text)
    return text
