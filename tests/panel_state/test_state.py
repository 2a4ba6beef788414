"""What the panel knows, as a transcript: lists, events and folds in; rows out."""

from __future__ import annotations

import pytest

from kpf_supervise.model import State
from kpf_supervise.panel_state.state import View
from tests.panel.instance import event, forward


def view(*forwards: dict[str, object]) -> View:
    made = View(own=True)
    made.listed(forwards)
    return made


def titles(view: View) -> list[str]:
    return [row.title for row in view.rows()]


def test_rates_and_their_history() -> None:
    made = view(forward("web", bytesOut=1_000_000), forward("db"))
    assert made.counted([forward("web", bytesOut=3_000_000), forward("new", bytesOut=1)], 2.0)
    made.heard(event("web", "active", "it is") | {"portForward": forward("web", bytesOut=9)})
    assert made.forwards["web"]["bytesOut"] == 3_000_000  # an event in between bends no rate
    assert made.rates == {"web": (0.0, 1_000_000.0)}
    assert made.counted([], 1.0)  # the rate is another one
    assert not made.counted([], 1.0)  # only time has passed
    assert (made.rates, list(made.history["web"])) == ({}, [1_000_000.0, 0.0, 0.0])
    for _ in range(60):
        made.counted([], 1.0)
    assert made.history == {}
    assert list(made.forwards) == ["web", "db"]  # `added` tells what is new


def test_a_forward_that_is_listed_again_is_the_last_one() -> None:
    made = view(forward("web"), forward("db"))
    for kind in ("removed", "added"):  # both are told when it is listed again already
        made.heard(event("web", kind, "") | {"portForward": forward("web")})
    assert list(made.forwards) == ["db", "web"]


def test_events_are_kept_once_and_the_last_one_of_each_forward() -> None:
    made = view(forward("web"))
    before, told = event("db", "active", "earlier", time="2023-11-14T22:13:10Z"), event("web", "failed", "why")
    made.heard(told | {"portForward": forward("web", State.FAILED)})
    made.heard(event("web", "kubectl", "said") | {"portForward": forward("web", State.FAILED)})
    made.fetched([before, told])  # they come after those that were heard meanwhile
    assert [each["message"] for each in made.events] == ["earlier", "why"]
    assert (made.last["web"]["message"], made.forwards["web"]["state"]) == ("why", "failed")
    made.marked = {"web"}
    made.heard(event("web", "removed", "gone") | {"portForward": None})
    assert (made.forwards, made.marked) == ({}, set())


def test_the_filter_wants_all_words() -> None:
    made = view(
        forward("web/http"), forward("web/echo", pods=["web-5448"]), forward("db", State.FAILED, groups=["back", "x"])
    )
    for words, found in {"web": 2, "WEB 5448": 1, "failed": 1, "shop": 3, "nosuch": 0, "back": 1}.items():
        made.filter = words
        assert len(made.rows()) == found, words


@pytest.mark.parametrize(
    ("column", "order"),
    [
        ("file", ["b", "a", "c"]),
        ("NAME", ["a", "b", "c"]),
        ("STATE", ["c", "b", "a"]),
        ("CONN", ["a", "b", "c"]),
        ("TRAFFIC", ["c", "b", "a"]),
    ],
)
def test_sorting(column: str, order: list[str]) -> None:
    made = view(forward("b"), forward("a", State.STOPPED, connections=3), forward("c", State.FAILED))
    made.rates = {"c": (5.0, 0.0)}
    made.sort = column
    assert titles(made) == order


def test_sorting_by_a_column_again_goes_backwards_and_then_as_in_the_file() -> None:
    made = view(forward("b"), forward("a"))
    orders = []
    for _ in range(3):
        made.sort_by("NAME")
        orders.append(titles(made))
    assert orders == [["a", "b"], ["b", "a"], ["b", "a"]]
    assert made.sort == "file"


def test_the_ports_of_one_name_fold_and_a_single_one_does_not() -> None:
    made = view(forward("web/http"), forward("db"), forward("web/echo", State.FAILED))
    assert made.fold(made.rows()[2]) == "name web"
    row = made.rows()[0]
    assert (titles(made), row.kind, row.state, len(row.forwards)) == (["web", "db"], "folded", "failed", 2)
    assert made.fold(made.rows()[1]) == "forward db"
    assert titles(made) == ["web", "db"]
    assert made.unfold(row) == "forward web/http"
    assert titles(made) == ["web/http", "db", "web/echo"]


def test_groups_fold() -> None:
    made = view(forward("web"), forward("db", namespace="data"), forward("api"))
    made.grouping = "namespace"
    assert titles(made) == ["shop", "web", "api", "data", "db"]
    assert made.fold(made.rows()[1]) == "namespace shop"
    assert titles(made) == ["shop", "data", "db"]
    assert [each["id"] for each in made.chosen(made.rows()[0])] == ["web", "api"]
    made.unfold(made.rows()[0])
    assert len(made.rows()) == 5


def test_what_is_marked_is_chosen_before_the_selected_row() -> None:
    made = view(forward("web"), forward("db"), forward("api"))
    web, db, api = made.rows()
    assert [each["id"] for each in made.chosen(api)] == ["api"]
    made.mark(db)
    made.mark(web)
    assert [each["id"] for each in made.chosen(api)] == ["web", "db"]
    made.mark(db)
    assert made.marked == {"web"}
    made.listed([forward("db")])
    assert made.marked == set()
