from __future__ import annotations

import pytest

from kpf_supervise.model import State
from kpf_supervise.panel_state.columns import PADDING, PLAIN_SIGNS, Layout
from kpf_supervise.panel_state.state import View
from tests.panel.instance import NOW, forward


def table(view: View, width: int, layout: Layout | None = None) -> list[dict[str, str]]:
    """The cells by column, for each row."""
    layout = layout or Layout()
    rows = view.rows()
    columns = layout.columns(view, rows, width, NOW)
    assert sum(column.width + PADDING for column in columns) <= max(width, 35)
    cells = [{each.title: layout.cell(each, row, view, NOW).text for each in columns} for row in rows]
    for row in cells:
        assert all(len(row[each.title]) <= each.width for each in columns)
    return cells


def view(*forwards: dict[str, object], **more: object) -> View:
    made = View(own=True)
    made.listed(forwards)
    for name, value in more.items():
        setattr(made, name, value)
    return made


LONG = forward("a-name-that-no-table-has-room-for/https", pod="web-5448-pf78l-abcdefgh", error="it is so", restarts=3)


@pytest.mark.parametrize("width", [36, 58, 78, 98, 118, 158, 198, 300])
def test_the_less_important_columns_give_way_and_three_never(width: int) -> None:
    (row,) = table(view(LONG), width)
    assert list(row)[:3] == ["NAME", "STATE", "LOCAL"]
    assert row["STATE"] == "● active"
    assert row["LOCAL"] == "localhost:8080"
    wider = table(view(LONG), width + 40)[0]
    assert row.keys() <= wider.keys()
    if width == 300:
        assert row["NAME"] == LONG["id"]
        assert row["ERROR"] == "it is so"
        assert row.keys() == wider.keys() >= {"RESTARTS", "HELD", "TRAFFIC", "TARGET", "POD", "IN", "OUT"}


def test_a_long_name_is_shortened_in_the_middle() -> None:
    name = table(view(LONG), 60)[0]["NAME"]
    assert name.startswith("a-nam")
    assert name.endswith("ttps")
    assert "…" in name


def test_namespace_and_context_are_there_where_they_vary() -> None:
    assert not {"NAMESPACE", "CONTEXT"} & table(view(forward("a"), forward("b")), 200)[0].keys()
    rows = table(view(forward("a"), forward("b", namespace="data"), forward("c", context="prod")), 200)
    assert [(row["NAMESPACE"], row["CONTEXT"]) for row in rows] == [
        ("shop", "kind"),
        ("data", "kind"),
        ("shop", "prod"),
    ]


def test_columns_do_not_become_narrower_while_forwards_come_and_go() -> None:
    layout = Layout()
    made = view(forward("web", State.RECONNECTING, attempt=2, attempts=3, retryAt="2023-11-14T22:13:24.000Z"))
    before = layout.columns(made, made.rows(), 120, NOW)
    assert table(made, 120, layout)[0]["STATE"] == "◐ reconnecting 2/3 4s"
    made.listed([forward("web")])
    assert layout.columns(made, made.rows(), 120, NOW) == before
    numbers = {each.title: each.width for each in before if each.right}
    made.listed([forward("web", bytesOut=123_456_789, connections=120)])
    assert {each.title: each.width for each in layout.columns(made, made.rows(), 120, NOW) if each.right} == numbers


def test_traffic_is_a_line_and_a_rate() -> None:
    made = view(forward("web"))
    for total in (0, 4_000_000, 5_000_000, 5_000_000):
        made.counted([forward("web", bytesOut=total)], 1)
    (row,) = table(made, 200)
    assert row["TRAFFIC"].split() == ["█▂"]
    assert row["OUT"] == "5.0M"
    made.counted([forward("web", bytesOut=7_500_000)], 1)
    assert table(made, 200)[0]["OUT"] == "7.5M 2.5M/s"
    assert "TRAFFIC" not in table(made, 200, Layout(PLAIN_SIGNS))[0]


def test_a_folded_row_adds_up() -> None:
    made = view(forward("web/a", connections=1, held=2), forward("web/b", State.FAILED, connections=3, error="why"))
    made.fold(made.rows()[0])
    (row,) = table(made, 200)
    assert (row["NAME"], row["STATE"], row["LOCAL"]) == ("▸ web (2)", "✗ failed 1/2", "2 ports")
    assert (row["CONN"], row["HELD"], row["TARGET"], row["ERROR"]) == ("4", "2", "service/web", "why")


def test_marks_and_groups_are_seen() -> None:
    made = view(forward("web"), forward("db"), grouping="state", marked={"db"})
    assert [row["NAME"] for row in table(made, 120)] == ["  ▾ active (2)", "    web", "✓   db"]
    names = [row["NAME"] for row in table(made, 120, Layout(PLAIN_SIGNS))]
    assert names == ["  - active (2)", "    web", "#   db"]


def test_the_local_address_is_a_link_while_it_listens() -> None:
    layout = Layout()
    made = view(forward("web"), forward("off", State.STOPPED))
    rows = made.rows()
    column = layout.columns(made, rows, 100, NOW)[2]
    assert [layout.cell(column, row, made, NOW).link for row in rows] == ["http://localhost:8080", ""]
