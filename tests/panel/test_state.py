"""The panel as a transcript: forwards, events and keys in; lines and calls out. No terminal."""

from __future__ import annotations

from typing import Any

import pytest

from kpf_supervise.events.serialize import port_forward
from kpf_supervise.model import TEMPLATE, Cause, Problem, State, Status
from kpf_supervise.panel.drawing import draw
from kpf_supervise.panel.state import View

NOW = 1_700_000_000.0
EVENT = {"time": "2023-11-14T22:13:20Z", "forward": "web", "event": "failed", "message": "why"}


def forward(id: str, state: State = State.ACTIVE, **more: Any) -> dict[str, Any]:
    status = Status(forward=TEMPLATE, state=state, since=NOW - 60, port=8080)
    return port_forward(status) | {"id": id, "target": f"service/{id}", "context": "kind"} | more


def view(*forwards: dict[str, Any], own: bool = True) -> View:
    made = View(own, title="shop.yaml")
    made.listed(forwards, 0)
    return made


def text(view: View, width: int = 120, height: int = 24) -> list[str]:
    return ["".join(piece for _, piece in line) for line in draw(view, width, height, NOW)]


def rows(view: View, width: int = 120, height: int = 24) -> list[str]:
    text(view, width, height)
    return [spot[2][4:] for spots in view.spots.values() for spot in spots if spot[2].startswith("row ")]


def test_head_rows_and_foot() -> None:
    head, columns, first, *_, foot = text(view(forward("web"), forward("db", State.WAITING)))
    assert head.startswith(" kpf-supervise · shop.yaml · kind ")
    assert head.rstrip().endswith("1 active · 1 waiting")
    assert columns.split() == ["NAME", "STATE", "LOCAL", "TARGET", "POD", "AGE", "RESTARTS", "CONN", "IN", "OUT"]
    assert first.split() == ["web", "●", "active", "localhost:8080", "service/web", "–", "1m", "0", "0", "0", "0"]
    assert foot.strip().endswith("[ Stop all  S ]")


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("height", [1, 2, 5, 10, 40])
def test_every_size_is_filled_and_nothing_breaks(width: int, height: int) -> None:
    problem = Problem(Cause.OTHER, "a long story " * 20, "Do this and that")
    failed = port_forward(Status(forward=TEMPLATE, state=State.FAILED, since=NOW, problem=problem)) | {"id": "bad"}
    made = view(*(forward(f"f{number}") for number in range(30)), failed)
    for mode in ("table", "details", "log", "help", "quit", "stop"):
        made.mode = mode
        assert len(text(made, width, height)) == height
    made.mode = "table"
    if height >= 5:
        assert text(made, width, height)[1].startswith(" NAME")
        assert made.current is not None


def test_the_less_important_columns_give_way() -> None:
    one = forward("web", pod="web-5448-pf78l-abcdefgh", error="it is so", restarts=3)
    shown = [set(text(view(one), width)[1].split()) for width in (40, 80, 130)]
    assert {"NAME", "STATE", "LOCAL"} <= shown[0] < shown[1] < shown[2]
    assert "RESTARTS" in shown[2]


def test_a_retry_counts_down() -> None:
    retry = {"attempt": 2, "attempts": 3, "retryAt": "2023-11-14T22:13:24.000Z"}  # NOW + 4 s
    assert "◐ reconnecting 2/3 4s" in text(view(forward("web", State.RECONNECTING, **retry)))[2]


def test_bytes_have_a_rate_from_list_to_list() -> None:
    made = view(forward("web", bytesOut=1_000_000))
    made.listed([forward("web", bytesOut=3_000_000)], 2.0)
    assert "3.0M 1.0M/s" in text(made)[2]
    made.heard(EVENT | {"portForward": forward("web", bytesOut=9)})
    assert "3.0M 1.0M/s" in text(made)[2]  # an event between two lists bends no rate


def test_choosing_scrolls() -> None:
    made = view(*(forward(f"f{number:02}") for number in range(50)))
    assert rows(made, height=12)[0] == "f00"
    made.press("end")
    assert rows(made, height=12)[-1] == "f49"
    assert made.selected == "f49"
    made.press("page up")
    made.press("k")
    assert made.selected in rows(made, height=12)
    made.press("home")
    assert rows(made, height=12)[0] == "f00"


def test_filter_and_sort() -> None:
    made = view(forward("web"), forward("db", State.FAILED), forward("api", State.IDLE))
    for key in "/db":
        made.press(key)
    assert rows(made) == ["db"]
    made.press("backspace")
    made.press("backspace")
    made.press("enter")
    assert rows(made) == ["web", "db", "api"]
    made.press("o")
    assert rows(made) == ["api", "db", "web"]
    made.press("o")
    assert rows(made) == ["db", "web", "api"]
    made.press("o")
    made.rates = {"api": (5.0, 0.0)}
    assert rows(made)[0] == "api"
    for key in "/zzz":
        made.press(key)
    assert "nothing matches the filter" in text(made)[2]
    assert made.press("s") is None
    made.press("esc")
    assert len(rows(made)) == 3


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("s", ("portforward:stop", {"id": "web"})),
        ("r", ("restart", {"id": "web"})),
        ("S", ("stop_all", {})),
        ("l", "log"),
        ("q", "quit"),
        ("x", None),
    ],
)
def test_keys(key: str, wanted: Any) -> None:
    made = view(forward("web"))
    text(made)
    assert made.press(key) == wanted


def test_what_is_stopped_is_started_by_the_same_key() -> None:
    made = view(forward("web", State.STOPPED, listening=False))
    assert "s start" in text(made)[-1]
    assert made.press("s") == ("restart", {"id": "web"})


def test_quitting_asks_only_where_connections_are_open_and_it_ends_them() -> None:
    made = view(forward("web", connections=2))
    assert made.press("q") is None
    assert "2 connections are open. Quit and stop all?" in text(made)[-1]
    assert made.press("n") is None
    assert (made.press("q"), made.press("y")) == (None, "quit")
    assert view(forward("web", connections=2), own=False).press("q") == "quit"


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("open", [{"connections": 1}, {"held": 1}])
def test_stopping_all_asks_only_where_connections_are_open(open: dict[str, Any], own: bool) -> None:
    made = view(forward("web", **open), forward("db"), own=own)
    assert made.press("S") is None
    assert "1 connection is open. Stop all forwards?" in text(made)[-1]
    assert made.press("n") is None
    assert "Stop all  S" in text(made)[-1]
    foot = text(made)[-1]
    assert made.click(23, foot.index("Stop all")) is None  # one click stops nothing
    foot = text(made)[-1]
    assert made.click(23, foot.index("yes")) == ("stop_all", {})
    assert "Stop all  S" in text(made)[-1]


def test_the_mouse() -> None:
    made = view(forward("web"), forward("db"))
    lines = text(made)
    assert made.click(23, lines[23].index("Stop all")) == ("stop_all", {})
    assert made.click(3, 5) is None
    assert made.selected == "db"
    made.click(3, 5)
    assert made.mode == "details"
    lines = text(made)
    assert made.click(23, lines[23].index("c copy")) == "copy"
    made.click(23, lines[23].index("close"))
    assert (made.mode, made.click(50, 50)) == ("table", None)


def test_details_hold_the_command_in_one_piece() -> None:
    command = "kubectl --context=kind port-forward " + "x" * 60
    made = view(forward("web", command=command, nextStep="do this"))
    made.press("enter")
    lines = [line.strip() for line in text(made, 60)]
    assert "next step    do this" in lines
    at = lines.index("kubectl --context=kind port-forward \\")
    assert "".join(line.rstrip("\\") for line in lines[at : at + 3]).replace(" ", "") == command.replace(" ", "")


def test_the_log_is_followed_until_one_looks_back() -> None:
    made = view(forward("web"))
    made.press("l")
    made.log = [f"line {number}" for number in range(100)]
    assert text(made, height=10)[8].strip() == "line 99"
    made.press("up")
    assert text(made, height=10)[8].strip() == "line 98"
    made.log.append("line 100")
    assert text(made, height=10)[8].strip() == "line 98"
    made.press("home")
    made.press("up")
    assert text(made, height=10)[1].strip() == "line 0"
    made.press("end")
    assert text(made, height=10)[8].strip() == "line 100"
    made.log.append("line 101")
    assert text(made, height=10)[8].strip() == "line 101"


def test_events_and_the_log() -> None:
    made = view(forward("web"))
    made.heard(EVENT | {"portForward": forward("web", State.FAILED, error="why", nextStep="ask")})
    shown = text(made)
    assert any("failed        why" in line for line in shown)
    assert any(line.startswith(" web: why. ask") for line in shown)
    made.press("l")
    made.heard(EVENT | {"event": "kubectl", "message": "said", "portForward": forward("web")})
    made.heard(EVENT | {"forward": "db", "message": "not this", "portForward": forward("db")})
    shown = text(made)
    assert any("kubectl       said" in line for line in shown)
    assert not any("not this" in line for line in shown)
    made.heard(EVENT | {"event": "removed", "portForward": None})
    assert list(made.forwards) == ["db"]
