"""JSON-RPC 2.0, one message per line: parsing and encoding. Pure. https://www.jsonrpc.org/specification

Whatever a peer sends becomes a Request or a Refusal. It never raises any other exception.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn

from kpf_supervise.text import one_line

LONGEST = 64 * 1024  # bytes per line

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
# Our own:
NO_SUCH_FORWARD = -32001
NOT_DONE = -32002  # understood, but it could not be done: the message says why
TOO_MANY = -32003  # connections
ENDING = -32004  # the instance ends: nothing was done, and another one can be asked

Id = str | int | float | None


class Refusal(Exception):
    """An error for the peer. `data` holds facts for programs, such as {"cause": "local-port"}."""

    def __init__(self, code: int, message: str, id: Id = None, **data: Any) -> None:
        super().__init__(message)
        self.code = code
        self.id = id
        self.data = data


@dataclass(frozen=True, slots=True)
class Request:
    """A call. `silent`: a notification in the sense of JSON-RPC, which gets no answer."""

    method: str
    params: dict[str, Any]
    id: Id = None
    silent: bool = False


class Lines:
    """Splits a stream of bytes into lines. `feed` raises Refusal if a line is longer than LONGEST."""

    def __init__(self) -> None:
        self.rest = b""  # the bytes after the last newline

    def feed(self, data: bytes | bytearray) -> list[bytes]:
        *lines, self.rest = (self.rest + bytes(data)).split(b"\n")
        if max(map(len, [*lines, self.rest])) > LONGEST:
            raise Refusal(INVALID_REQUEST, f"a line is longer than {LONGEST} bytes. One message is one line.")
        return [line for line in lines if line.strip()]


def read(line: bytes) -> list[Request | Refusal] | Request | Refusal:
    """Parse one message, or a batch, which is a list of messages."""
    try:
        # decoded first, so that the text must be UTF-8; NaN and Infinity are not JSON
        message = json.loads(line.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        return Refusal(PARSE_ERROR, f"not JSON: {error}")
    if not isinstance(message, list):
        return _request(message)
    if not message:
        return Refusal(INVALID_REQUEST, "an empty batch")
    return [_request(each) for each in message]


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number of JSON")


def _request(message: Any) -> Request | Refusal:
    if not isinstance(message, dict):
        return Refusal(INVALID_REQUEST, 'a request is an object: {"jsonrpc": "2.0", "id": 1, "method": …}')
    id, method, params = message.get("id"), message.get("method"), message.get("params", {})
    if isinstance(id, bool) or not isinstance(id, str | int | float | None) or id in (math.inf, -math.inf):
        return Refusal(INVALID_REQUEST, "id must be a string or a number")
    if message.get("jsonrpc") != "2.0":
        return Refusal(INVALID_REQUEST, 'jsonrpc must be "2.0"', id)
    if not isinstance(method, str):
        return Refusal(INVALID_REQUEST, "method must be a string", id)
    if not isinstance(params, dict):
        return Refusal(INVALID_PARAMS, "params must be an object", id)
    return Request(method, params, id, "id" not in message)


def result(id: Id, value: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "result": value}


def error(refusal: Refusal, id: Id = None) -> dict[str, Any]:
    facts = {"code": refusal.code, "message": str(refusal)} | ({"data": refusal.data} if refusal.data else {})
    return {"jsonrpc": "2.0", "id": refusal.id if id is None else id, "error": facts}


def call(method: str, params: dict[str, Any], id: Id = None) -> dict[str, Any]:
    """A request; without an id, a notification."""
    return {"jsonrpc": "2.0", "method": method, "params": params} | ({} if id is None else {"id": id})


def answer(line: bytes) -> dict[str, Any]:
    """Parse what the server has sent. Each text becomes one line of printable text; an error's message may have several
    lines. The text goes to a terminal, and the server may be any program."""
    message = json.loads(line)
    read: dict[str, Any] = _clean(message)
    if isinstance(message, dict) and isinstance(error := message.get("error"), dict):
        read["error"]["message"] = "\n".join(map(one_line, str(error.get("message")).splitlines()))
    return read


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, dict):
        return {one_line(name): _clean(each) for name, each in value.items()}
    return [_clean(each) for each in value] if isinstance(value, list) else value


def encode(message: Any) -> bytes:
    """Encode as one line. ASCII only, so that a lone surrogate in an echoed id does no harm."""
    return json.dumps(message).encode() + b"\n"
