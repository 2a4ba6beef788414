"""Parsers for user input: targets, ports, names, durations, paths. Each returns a plain value or raises Mistake.

The rules for names are those of Kubernetes (apimachinery, util/validation) and of kubectl's own argument parsing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path

from kpf_supervise.config.errors import Mistake
from kpf_supervise.config.habits import check_port, check_target
from kpf_supervise.config.selectors import parse_selector
from kpf_supervise.config.target_kinds import KINDS
from kpf_supervise.model import LONGEST_SOCKET, TARGET_KINDS, Target
from kpf_supervise.text import one_line, quote

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")  # DNS-1123 label
FORWARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
PORT = re.compile(r"[1-9][0-9]{0,4}")
DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
BARE = re.compile(r"[0-9]+(\.[0-9]+)?")  # a duration without its unit
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
LONGEST = 366 * 24 * 3600.0


def parse_target(text: str) -> Target:
    """`[KIND/]NAME`. KIND is a name or short name that kubectl knows, in any case; a bare NAME is a pod."""
    check_target(text)
    kind, slash, name = text.partition("/")
    if not slash:
        kind, name = "pod", text
    known = KINDS.get(kind.lower())
    if known is None:
        near = get_close_matches(kind.lower(), KINDS, 1)
        raise Mistake(
            f"{quote(kind)} is not a kind of target",
            f"Did you mean {near[0]}/{name[:60]}?" if near else f"Use one of {', '.join(TARGET_KINDS)}.",
        )
    return Target(known, parse_object_name(name, dots=known != "service"))


def parse_object_name(text: str, *, dots: bool) -> str:
    """A DNS-1123 label of up to 63 characters (services, namespaces), or with `dots` a subdomain of up to 253."""
    if text.startswith("-"):
        raise Mistake(f'the name {quote(text)} begins with "-"', "Remove it: kubectl would read it as an option.")
    limit = 253 if dots else 63
    if len(text) > limit or not all(LABEL.fullmatch(part) for part in (text.split(".") if dots else [text])):
        allowed = "lower-case letters, digits, '-' and '.'" if dots else "lower-case letters, digits and '-'"
        raise Mistake(
            f"{quote(text)} is not a name that Kubernetes accepts",
            f"Use {allowed}, a letter or digit at both ends, {limit} characters at most.",
        )
    return text


def parse_namespace(text: str) -> str:
    return parse_object_name(text, dots=False)


def parse_selector_target(text: str) -> Target:
    """A label selector in kubectl's syntax."""
    try:
        parse_selector(text)
    except ValueError as error:
        raise Mistake(str(error), "Write it as for kubectl -l: app=search,tier=backend.") from None
    return Target("selector", " ".join(text.split()))  # always one line


def parse_context(text: str) -> str:
    if not text or text.startswith("-"):
        raise Mistake(f"{quote(text)} is not a context's name", "kubectl config get-contexts lists them.")
    if not text.isprintable():
        raise Mistake(f"the context's name {quote(text)} has characters that can't be printed", "Rename the context.")
    return text


def parse_forward_name(text: str, what: str = "a forward") -> str:
    if not FORWARD_NAME.fullmatch(text):
        raise Mistake(
            f"{quote(text)} cannot name {what}",
            "Use letters, digits, '.', '_' and '-', a letter or digit first, 63 characters at most.",
        )
    return text


def parse_group(text: str) -> str:
    return parse_forward_name(text, "a group")


def parse_port(text: str, *, of_service: bool = False) -> tuple[int | None, int | str]:
    """`[LOCAL:]REMOTE` as kubectl reads it: (local or None for any free port, remote number or name).

    The port name of a container has up to 15 characters, that of a service (`of_service`) up to 63.
    """
    check_port(text)
    local, colon, remote = text.rpartition(":")
    if any(char in text for char in ", "):
        raise Mistake(f"{quote(text)} is not one port", 'Write several as a list: ["8080:80", "9090"].')
    if ":" in local:
        raise Mistake(f"{quote(text)} has more than LOCAL:REMOTE", "An IP address goes into the option address.")
    if remote.isdecimal():
        number = _port_number(remote, text)
        return (_local(local, text) if colon else number), number
    if not _is_port_name(remote, of_service):
        raise Mistake(f"{quote(text)} is not a port", 'Write [LOCAL:]REMOTE, such as 9090, "8080:http" or ":80".')
    if not colon:
        raise Mistake(
            f"{quote(text)} names the remote port and leaves the local one open",
            f'Write "8080:{text}", or ":{text}" for any free local port.',
        )
    return _local(local, text), remote


def _local(local: str, text: str) -> int | None:
    """The number left of the colon. As in kubectl, an empty text and 0 mean any free port."""
    if local in ("", "0"):
        return None
    if not local.isdecimal():
        raise Mistake(f"the local port in {quote(text)} is not a number", 'Write LOCAL:REMOTE, such as "8080:http".')
    return _port_number(local, text)


def _port_number(digits: str, text: str) -> int:
    if digits.startswith("0") and digits.strip("0"):
        raise Mistake(f"{quote(text)} has a port with a leading zero", f"Write {digits.lstrip('0')[:60]} for it.")
    if not PORT.fullmatch(digits) or int(digits) > 65535:
        raise Mistake(f"the port {quote(digits)} is out of range", "Use 1 to 65535.")
    return int(digits)


def _is_port_name(text: str, of_service: bool) -> bool:
    """Whether `text` is a DNS-1123 label with a letter, and for a container also an IANA_SVC_NAME."""
    iana = len(text) <= 15 and "--" not in text
    return bool(LABEL.fullmatch(text) and re.search("[a-z]", text)) and (iana or (of_service and len(text) <= 63))


def parse_proxy_port(text: str) -> int:
    if not text.isdecimal():
        raise Mistake(f"{quote(text)} is not a port", "Write a number, such as 1080.")
    return _port_number(text, text)


def parse_listen(text: str) -> tuple[str, int]:
    """`[ADDRESS:]PORT`."""
    address, _, port = text.rpartition(":")
    return parse_address(address.removeprefix("[").removesuffix("]") or "localhost"), parse_proxy_port(port)


def parse_address(text: str) -> str:
    """`localhost`, or one IP address in its shortest form."""
    if text == "localhost":
        return text
    try:
        if not text.isprintable():  # an interface name may follow: fe80::1%eth0
            raise ValueError
        return str(ip_address(text))
    except ValueError:
        raise Mistake(
            f"{quote(text)} is not an IP address", 'Write localhost, or an address such as 0.0.0.0 or "::1".'
        ) from None


def parse_duration(text: str) -> float:
    """Seconds, from numbers with the units ms, s, m or h, such as 500ms, 1.5s, 1h30m."""
    parts = DURATION.findall(text)
    if not text or "".join(number + unit for number, unit in parts) != text:
        if BARE.fullmatch(text):
            raise Mistake(f"{quote(text)} has no unit", f"Write {text[:20]}s for seconds; the units are ms, s, m, h.")
        if text.startswith("-"):
            raise Mistake(f"{quote(text)} is a negative duration", "Write a duration such as 30s.")
        raise Mistake(f"{quote(text)} is not a duration", "Write it as in 500ms, 30s, 10m or 1h30m.")
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if seconds > LONGEST:
        raise Mistake(f"{quote(text)} is longer than a year", "Write a shorter duration.")
    return seconds


def parse_timeout(text: str) -> float:
    """A duration on a command line, where a number without a unit is seconds."""
    return parse_duration(f"{text}s" if BARE.fullmatch(text) else text)


def parse_positive_duration(text: str) -> float:
    seconds = parse_duration(text)
    if seconds <= 0:
        raise Mistake("a duration of nothing", "Write more than 0, such as 500ms.")
    return seconds


def parse_idle_timeout(text: str) -> float | None:
    """Seconds, or None for `never`."""
    return None if text == "never" else parse_positive_duration(text)


def parse_attempts(text: str) -> int | None:
    """A count of at least 1, or None for `unlimited`."""
    if text == "unlimited":
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise Mistake(f"{quote(text)} is not a number of attempts", "Write a whole number from 1 on, or unlimited.")
    return int(text)


def parse_children(text: str) -> int:
    if not re.fullmatch(r"[1-9]|1[0-6]", text):
        raise Mistake(f"{quote(text)} is not a number of children", "Write a whole number from 1 to 16.")
    return int(text)


def parse_choice(text: str, what: str, words: Sequence[str]) -> str:
    """One of `words`. `what` is what each of them is, such as "a protocol"."""
    if text not in words:
        raise Mistake(f"{quote(text)} is not {what}", f"Write {', '.join(words[:-1])} or {words[-1]}.")
    return text


def parse_bool(text: str) -> bool:
    """true or false, as in YAML 1.2. The yes, no, on and off of YAML 1.1 are rejected."""
    if text not in ("true", "True", "TRUE", "false", "False", "FALSE"):
        meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text.lower())
        raise Mistake(f"{quote(text)} is neither true nor false", f"Write {meant or 'true or false'}.")
    return text.lower() == "true"


def parse_kubeconfig(text: str, folder: Path) -> Path:
    path = folder.joinpath(os.path.expanduser(text)).absolute()
    if not text or not os.path.exists(path) or os.path.isdir(path):
        folder_name = one_line(str(folder.absolute()))
        raise Mistake(f"there is no file {quote(text)}", f"Write a path from {folder_name}, or from ~ or /.")
    return path


def parse_kubectl(text: str, folder: Path) -> str:
    """A name to look up on PATH is returned unchanged; anything else is a path."""
    if text and "/" not in text:
        return text
    import shutil  # slow to import, and kpfctl parses values without it

    path = str(folder.joinpath(os.path.expanduser(text)).absolute())
    if not shutil.which(path):
        raise Mistake(f"{quote(text)} is not a program", "Write kubectl, or the path of one that is executable.")
    return path


def parse_socket(text: str, folder: Path) -> Path:
    path = folder.joinpath(os.path.expanduser(text)).absolute()
    if not text or path.is_dir():
        raise Mistake(f"{quote(text)} cannot be a socket", "Write the path of a file, such as ~/.kpf.sock.")
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise Mistake(f"the socket's path is longer than {LONGEST_SOCKET} bytes", "Write a shorter one.")
    return path
