"""What a peer's bytes mean, and what is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing

from kpf_supervise.control.handlers import Handlers
from kpf_supervise.control.jsonrpc import LONGEST, Lines, Refusal, Request, read
from kpf_supervise.control.methods import METHODS, arguments
from kpf_supervise.control.server import Connection
from kpf_supervise.events.board import Board
from kpf_supervise.model import TEMPLATE, Trigger


def test_lines_are_cut_wherever_the_pieces_end() -> None:
    lines = Lines()
    assert [lines.feed(piece) for piece in (b"a", b"b\nc\n\n", b" \r\nd")] == [[], [b"ab", b"c"], []]
    assert lines.rest == b"d"


def test_a_line_may_be_so_long_and_no_longer() -> None:
    assert Lines().feed(b"x" * LONGEST + b"\n") == [b"x" * LONGEST]
    for data in (b"x" * (LONGEST + 1), b"x" * (LONGEST + 1) + b"\n"):
        with pytest.raises(Refusal, match="a line is longer than 65536 bytes"):
            Lines().feed(data)


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        (b'{"jsonrpc": "2.0", "id": 1, "method": "a"}', Request("a", {}, 1)),
        (b'{"jsonrpc": "2.0", "id": "x", "method": "a", "params": {"b": 2}}', Request("a", {"b": 2}, "x")),
        (b'{"jsonrpc": "2.0", "method": "a"}', Request("a", {}, None, silent=True)),
        (b'{"jsonrpc": "2.0", "id": null, "method": "a"}', Request("a", {}, None)),
    ],
)
def test_requests(line: bytes, request_: Request) -> None:
    assert read(line) == request_
    assert read(b"[" + line + b"]") == [request_]


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        (b"", -32700, "not JSON"),
        (b"{", -32700, "not JSON"),
        (b"\xff", -32700, "not JSON"),
        (b'{"jsonrpc": "2.0", "id": "\xff", "method": "a"}', -32700, "not JSON"),
        (b"[NaN]", -32700, "NaN is not a number of JSON"),
        (b"[" * 30_000, -32700, "recursion"),
        (b"[]", -32600, "an empty batch"),
        (b"1", -32600, "a request is an object"),
        (b'{"jsonrpc": "1.0", "method": "a"}', -32600, 'jsonrpc must be "2.0"'),
        (b'{"jsonrpc": "2.0"}', -32600, "method must be a string"),
        (b'{"jsonrpc": "2.0", "id": true, "method": "a"}', -32600, "id must be"),
        (b'{"jsonrpc": "2.0", "id": 1e999, "method": "a"}', -32600, "id must be"),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "a", "params": [1]}', -32602, "params must be an object"),
    ],
)
def test_what_is_no_request(line: bytes, code: int, text: str) -> None:
    refusal = read(line)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, text in str(refusal)) == (code, True), refusal


START: dict[str, Any] = {"resource_type": "pod", "name": "a", "namespace": "dev", "local_port": 1, "remote_port": 2}


@pytest.mark.parametrize(
    ("method", "params", "text"),
    [
        ("portforward:strat", {}, 'no method "portforward:strat". Did you mean portforward:start?'),
        ("portforward:stop", {}, "portforward:stop needs id"),
        ("portforward:stop", {"id": 1}, "id: 1 is not a string"),
        ("portforward:list", {"all": 1}, 'portforward:list has no parameter "all"'),
        ("portforward:start", START | {"localPort": 1}, 'no parameter "localPort". Did you mean local_port?'),
        ("portforward:start", START | {"resource_type": "node"}, 'resource_type: "node" is not a kind of target'),
        ("portforward:start", START | {"namespace": "No"}, 'namespace: "No" is not a name that Kubernetes accepts'),
        ("portforward:start", START | {"local_port": "80"}, 'local_port: "80" is not a number'),
        ("portforward:start", START | {"local_port": True}, "local_port: true is not a number"),
        ("portforward:start", START | {"local_port": 70000}, "local_port: 70000 is out of range. Use 0 to 65535"),
        ("portforward:start", START | {"remote_port": 0}, "remote_port: 0 is out of range. Use 1 to 65535"),
        ("portforward:start", START | {"remote_port": [2]}, "remote_port: a list is not a number"),
        ("portforward:start", START | {"lazy": "yes"}, 'lazy: "yes" is neither true nor false'),
    ],
)
def test_wrong_parameters_are_named(method: str, params: dict[str, Any], text: str) -> None:
    with pytest.raises(Refusal) as error:
        arguments(method, params)
    assert text in str(error.value)


def test_right_parameters() -> None:
    assert arguments("portforward:start", START) == START
    assert arguments("portforward:start", START | {"namespace": None, "remote_port": "http"})["remote_port"] == "http"


class Nothing:
    """In the place of a supervisor and its file."""

    path = None
    mistakes: list[str] = []  # noqa: RUF012
    proxy = None
    metrics = None

    async def stop(self, ids: list[str]) -> None:
        await trio.lowlevel.checkpoint()

    def save(self) -> None:
        pass


def steering(board: Board) -> Handlers:
    return Handlers(Nothing(), board, Nothing(), lambda: None, Nothing())  # type: ignore[arg-type]


async def test_a_conversation() -> None:
    board = Board()
    status = board.add(TEMPLATE)
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Connection(theirs, steering(board), lambda: None).run)

        async def said(text: str) -> Any:
            await ours.send_all(text.encode())
            await trio.testing.wait_all_tasks_blocked()
            data = (await ours.receive_some()).decode()
            assert data.endswith("\n")
            return [json.loads(line) for line in data.splitlines()]

        assert (await said('{"jsonrpc":"2.0","id":1,"method":"portforward:list"}\n'))[0]["result"][0]["id"] == ""
        batch = '[{"jsonrpc":"2.0","method":"events"}, 1, {"jsonrpc":"2.0","id":2,"method":"stop_all"}]\n'
        ((wrong, right),) = await said(batch)  # a notification gets no answer
        assert (wrong["id"], wrong["error"]["code"]) == (None, -32600)
        assert right == {"jsonrpc": "2.0", "id": 2, "result": None}
        (again,) = await said('{"jsonrpc":"2.0","id":3,"method":"subscribe"}\n')
        assert [each["state"] for each in again["result"]] == ["stopped"]
        board.changed(status, Trigger.CONNECT, "a")
        board.changed(status, Trigger.READY, "b")
        await trio.testing.wait_all_tasks_blocked()
        first, second, list_ = await said('{"jsonrpc":"2.0","id":4,"method":"portforward:list"}\n')
        assert [each["params"]["event"] for each in (first, second)] == ["connecting", "active"]
        assert first["params"]["portForward"]["state"] == "active"  # as it is now
        assert list_["id"] == 4
        await ours.send_all(b'{"jsonrpc":"2.0","id":5,"method":"info"}')  # the last one, without its end
        await ours.send_eof()
        assert b'"version"' in b"".join([chunk async for chunk in ours])


class Faulty(Nothing):
    """A supervisor with a bug."""

    async def stop(self, ids: list[str]) -> None:
        raise ZeroDivisionError("a bug")


async def test_a_bug_in_a_call_is_that_calls_error_alone() -> None:
    board = Board()
    faulty = Handlers(Faulty(), board, Nothing(), lambda: None, Nothing())  # type: ignore[arg-type]
    ours, theirs = trio.testing.memory_stream_pair()
    stop = {"jsonrpc": "2.0", "id": 1, "method": "stop_all"}
    events = {"jsonrpc": "2.0", "id": 2, "method": "events"}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Connection(theirs, faulty, lambda: None).run)
        for message in (stop, {"jsonrpc": "2.0", "method": "stop_all"}, [stop, events], events):
            await ours.send_all(json.dumps(message).encode() + b"\n")
        await ours.send_eof()
        alone, batch, last = map(json.loads, b"".join([chunk async for chunk in ours]).splitlines())
    for answer in (alone, batch[0]):
        assert (answer["id"], answer["error"]["code"]) == (1, -32603)
        assert "an error in kpf-supervise itself" in answer["error"]["message"]
        assert "stop_all" in answer["error"]["message"]
    assert [each["id"] for each in (batch[1], last)] == [2, 2]
    told = [event for event in board.history if "a bug" in event.message]
    assert len(told) == 3  # also the notification's, which gets no answer


async def test_a_bug_in_a_connection_ends_that_one_alone() -> None:
    """Here: an answer that is no JSON."""
    board = Board()

    odd = Handlers(Nothing(), board, Nothing(), lambda: {1, 2}, Nothing())  # type: ignore[arg-type]
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Connection(theirs, odd, lambda: None).run)
        await ours.send_all(b'{"jsonrpc":"2.0","id":1,"method":"shutdown"}\n')
        assert b"".join([chunk async for chunk in ours]) == b""
    assert [event.kind for event in board.history] == ["notice"]


async def test_who_takes_nothing_is_dropped_and_so_is_a_slow_subscriber(autojump_clock: trio.testing.MockClock) -> None:
    board = Board()
    status = board.add(TEMPLATE)
    for method in ("events", "subscribe"):
        ours, theirs = trio.testing.lockstep_stream_pair()
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(Connection(theirs, steering(board), lambda: None).run)
                call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode() + b"\n"
                await ours.send_all(call)
                if method == "subscribe":
                    assert b'"result"' in await ours.receive_some()
                    await trio.testing.wait_all_tasks_blocked()
                    for _ in range(1100):  # more than may wait
                        board.changed(status, Trigger.GIVE_UP, "")


def test_every_method_is_done_by_something() -> None:
    async def main() -> None:
        board = Board()
        for method, parameters in METHODS.items():
            if not parameters and method not in ("reload", "logins"):
                await steering(board).call(method, {})

    trio.run(main)
