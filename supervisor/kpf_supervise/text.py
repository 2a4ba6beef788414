"""Cleans text from outside before it is shown: one line of printable characters, cut to length, credentials redacted.
Pure."""

from __future__ import annotations

import re

_KEY = (
    r"(?:authorization|token|password|passwd|(?!(?-i:PWD=/))pwd|passphrase|secret|cookie|api[-_]?key"  # PWD=/a/folder
    r"|(?:client|private)[-_]key|x-(?:amz|goog)-(?:signature|credential))"
    r"(?!s\b)[\w.-]{0,40}"
)
_SCHEME = r"(?:(?:bearer|basic|digest|negotiate|token)\s++)?+"
_OPEN = r"[\s\"'\[\\]*+"  # between the = or : and the value; \" is a quote inside quoted text
_BARE = r"[^\s\"'&}\]\\]*[^\s\"'&}\]\\,;.)]"

# Each pattern keeps the group `before`.
_PATTERNS = [
    # kubectl 1.20 quotes part of a kubeconfig that it can't read
    re.compile(r"(?P<before>error found in #\d+ byte of ).*"),
    re.compile(r"(?P<before>-----BEGIN [A-Z ]*PRIVATE KEY-----).*"),
    # https://user:password@host, where the password may contain blanks; but not https://host:port/… with a later @
    re.compile(r"(?P<before>//[^/@\s:\"'\[]*:)(?!\d{1,5}(?:[/?\s\"',)]|$))(?:[^\s\"']+(?=@)|[^@\"']+(?=@))"),
    re.compile(r"(?P<before>//)[^/@\s:\"'\[\]]+(?=@)"),
    # "key": "a value with blanks", possibly cut off
    re.compile(rf"(?i)(?P<before>{_KEY}[\"']?\s*[=:]\s*(?P<quote>[\"']){_SCHEME})(?:(?!(?P=quote)).)+"),
    # key=value, key: value, Authorization: Bearer value, --key value
    re.compile(rf"(?i)(?P<before>{_KEY}[\"'\\]*\s*[=:]{_OPEN}{_SCHEME})(?!\*\*\*){_BARE}"),
    re.compile(rf"(?i)(?P<before>--[\w.-]{{0,40}}{_KEY}\s+[\"']?)(?!-|\*\*\*){_BARE}"),
    re.compile(rf"(?i)(?P<before>\b(?:bearer|basic)\s+)(?!tokens?\b|auth(?:entication)?\b|realm|\*\*\*){_BARE}"),
    # in a URL: an OAuth code (but not an HTTP status), an Azure blob signature
    re.compile(rf"(?i)(?P<before>[?&](?:code|sig)=)(?!\*\*\*|\d{{1,3}}(?![\w/%.~-])){_BARE}"),
    # tokens of EKS, Google, GitHub and GitLab
    re.compile(r"(?P<before>\b(?:k8s-aws-v1\.|ya29\.|gh[oprsu]_|github_pat_|glpat-))[\w.-]{15,}"),
    re.compile(r"(?P<before>\b)eyJ[\w-]{5,}(?:\.[\w-]*)*"),  # a JWT
    re.compile(r"(?P<before>\b)LS0tLS[\w+/=]*"),  # a base64-encoded PEM
    re.compile(r"(?P<before>^\s*)[A-Za-z0-9+/]{60,}={0,2}(?=\s*$)"),  # a line of such base64
]
_BLANKS = re.compile(r"\s+")
_LONGEST = 4000  # characters per line; kubectl -v=9 logs a whole response as one line


def one_line(text: str) -> str:
    """One line of printable text; a very long line is cut. A line break could forge another line, escape sequences
    would control the terminal, and some format characters change the order in which text is shown."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
    if not text.isprintable() or "  " in text:
        text = _BLANKS.sub(" ", text)
        text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
    return text


def redact(text: str) -> str:
    """`one_line`, with everything that looks like a credential replaced by ***."""
    text = one_line(text)
    for pattern in _PATTERNS:
        text = pattern.sub(lambda found: f"{found['before']}***", text)
    return text


def shorten(text: str) -> str:
    """At most 60 characters of `text`, for one line of a terminal, without control characters."""
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[:61])
    return shown if len(shown) <= 60 else f"{shown[:59]}…"


def quote(text: str) -> str:
    """`shorten`, in quotes."""
    return f'"{shorten(text)}"'
