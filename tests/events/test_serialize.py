"""Whatever stands in forwards and events, what goes out is printable, and an event is one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import example, given, settings

from kpf_supervise.control import jsonrpc
from kpf_supervise.events import serialize
from kpf_supervise.events.log import as_json, as_text
from kpf_supervise.events.serialize import line, port_forward
from kpf_supervise.model import (
    TEMPLATE,
    Cause,
    Cluster,
    Connection,
    Event,
    Forward,
    Problem,
    Reconnect,
    State,
    Status,
    Target,
)
from tests.anything import EXAMPLES, RANDOM, json_value, made, text

pytestmark = RANDOM

FORGED = "Error\x1b]0;owned\x07\r\n21:00:00 web              active        all is well\u202e\u2028\ud800"


def maybe(random: Random) -> str | None:
    return random.choice([None, foreign(random)])


def foreign(random: Random) -> str:
    return FORGED if random.randrange(8) == 0 else text(random)


def an_event(random: Random) -> Event:
    return Event(
        time=1_700_000_000.25,
        forward=maybe(random),
        kind=foreign(random),
        message=foreign(random),
        state=random.choice([None, *State]),
        cause=random.choice([None, *Cause]),
        pod=maybe(random),
    )


def a_status(random: Random) -> Status:
    forward = Forward(
        id=foreign(random),
        target=Target(foreign(random), foreign(random)),
        remote=foreign(random),
        cluster=Cluster(Path("config"), maybe(random)),
        namespace=maybe(random),
        address=foreign(random),
        notify=foreign(random),
    )
    problem = Problem(random.choice([*Cause]), foreign(random), foreign(random))
    return Status(
        forward=forward,
        context=maybe(random),
        namespace=maybe(random),
        pods=tuple(foreign(random) for _ in range(random.randrange(3))),
        problem=random.choice([None, problem]),
        command=maybe(random),
    )


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from strings(each)


@settings(max_examples=EXAMPLES, deadline=None)
@given(event=made(an_event))
@example(event=Event(time=0, forward=FORGED, kind=FORGED, message=FORGED, pod=FORGED))
def test_an_event_is_one_printable_line(event: Event) -> None:
    assert event.message.isprintable()  # as it is stored, too
    text, object = as_text(event), as_json(event)
    assert text is None or text.isprintable()
    assert object is None or (
        object.encode().count(b"\n") == 0 and all(map(str.isprintable, strings(json.loads(object))))
    )


@settings(max_examples=EXAMPLES, deadline=None)
@given(status=made(a_status))
@example(status=Status(forward=Forward(id="a", target=Target("pod", "a"), remote=1), context=FORGED, pods=(FORGED,)))
def test_a_forward_has_only_printable_texts(status: Status) -> None:
    assert all(map(str.isprintable, strings(port_forward(status))))
    assert status.problem is None or str(status.problem).isprintable()


@settings(max_examples=EXAMPLES, deadline=None)
@given(value=made(json_value))
@example(value={"forward": FORGED, "event": "active", "message": FORGED, "time": "2023-11-14T22:13:20Z"})
def test_what_another_program_answers_is_printable_too(value: Any) -> None:
    """kpfctl and the panel believe no socket: it may not be one of ours."""
    read = jsonrpc.answer(jsonrpc.encode(jsonrpc.result(1, value)))
    assert all(map(str.isprintable, strings(read)))
    if isinstance(value, dict) and {"time", "event", "message"} <= value.keys():
        assert line(read["result"]).isprintable()


def test_an_error_may_have_several_lines_each_of_them_printable() -> None:
    read = jsonrpc.answer(jsonrpc.encode(jsonrpc.error(jsonrpc.Refusal(1, f"a  b\nc{FORGED}\n", file=FORGED))))
    message = read["error"]["message"]
    assert message.split("\n")[0] == "a b"
    assert all(map(str.isprintable, message.split("\n")))
    assert read["error"]["data"]["file"].isprintable()


def test_a_line_of_the_log_is_in_local_time() -> None:
    text = line({"time": "2026-11-23T12:00:00.000Z", "event": "notice", "message": "m"})
    clock = datetime(2026, 11, 23, 12, tzinfo=UTC).astimezone().strftime("%H:%M:%S")
    assert text == f"{clock} -                notice        m"


def test_more_of_a_forward_is_its_settings_and_its_connections() -> None:
    plain = serialize.description(Status(forward=TEMPLATE), TEMPLATE)
    assert (plain["own"], plain["connections"], plain["settings"]["hold"]) == ([], [], "30s")
    settings = replace(TEMPLATE, namespace="shop", hold=60.0, lazy=True, reconnect=Reconnect(attempts=None))
    status = Status(forward=settings, open=[Connection("127.0.0.1:4711", since=1.5, bytes_in=7)])
    told = serialize.description(status, replace(TEMPLATE, namespace="shop"))
    assert told["own"] == ["hold", "lazy", "reconnect"]
    assert (told["settings"]["hold"], told["settings"]["reconnect"]["attempts"]) == ("60s", "unlimited")
    connection = {"peer": "127.0.0.1:4711", "since": "1970-01-01T00:00:01.500Z", "held": True}
    assert told["connections"] == [connection | {"bytesIn": 7, "bytesOut": 0}]
