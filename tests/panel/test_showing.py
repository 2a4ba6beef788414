"""What the panel shows by itself, with Textual's pilot and a pretended instance."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from textual.geometry import Region

from kpf_supervise.control.client import Refused
from kpf_supervise.events.serialize import moment
from kpf_supervise.model import State
from kpf_supervise.panel import following, program
from kpf_supervise.panel.program import Panel
from kpf_supervise.panel_state.ending import ENDED, GONE
from tests.panel.instance import NOW, Instance, event, forward, played, showing

FOREIGN = "[red]x[/red] [@click=app.quit]y[/] [link=http://a]"


@played
async def test_mistakes_in_the_file_are_shown_whole_until_they_are_fixed() -> None:
    instance = Instance(forward("web"))
    async with showing(instance) as screen:
        mistakes = [f"shop.yaml:{line}:5: forwards.w{line}: " + "it is so " * 20 + "until here" for line in (3, 4)]
        instance.answers["info"] |= {"mistakes": mistakes}
        instance.tell(None, "notice", "the file was not applied")
        text = await screen.shows("The file is wrong, and was not applied. E opens it.")
        assert text.count("until here") == 2
        assert screen.row("web")
        instance.answers["info"] |= {"mistakes": []}
        instance.tell(None, "notice", "shop.yaml is unchanged: all settings are as they were")
        await screen.until(lambda: "until here" not in screen.text)


@played
async def test_an_empty_panel_says_what_to_do() -> None:
    instance = Instance()
    async with showing(instance) as screen:
        await screen.shows("No forwards yet.")
        await screen.press("enter", "s", "r", "space", "c", "left", "G")  # nothing breaks
        assert instance.calls == []
        instance.forwards["web"] = forward("web")
        instance.tell("web", "added", "listed")
        await screen.until(lambda: "No forwards yet." not in screen.text and bool(screen.row("web")))
        await screen.press("r")
        await screen.until(lambda: instance.calls == [("restart", {"id": "web"})])


@played
async def test_the_last_event_of_the_selected_forward_and_its_error_are_readable() -> None:
    long = "lost db-0: " + "a long story " * 12 + "to its end"
    instance = Instance(forward("web"), forward("db", State.FAILED, error="it is so", nextStep="Ask for a role"))
    instance.answers["events"] = [event("db", "failed", long), *(event("web", "active", f"n{i}") for i in range(50))]
    async with showing(instance, size=(80, 24)) as screen:
        await screen.press("down")
        text = await screen.shows("to its end")
        assert "db: it is so. Ask for a role" in text
        await screen.press("up")
        await screen.until(lambda: "to its end" not in screen.text)


@played
async def test_an_event_is_shown_at_once_and_the_selected_row_stays_selected() -> None:
    instance = Instance(forward("web"), forward("db"), forward("api"))
    async with showing(instance) as screen:
        await screen.press("down")
        instance.forwards["db"] = forward("db", State.WAITING)
        instance.tell("db", "waiting", "no ready pod")
        await screen.shows("◔ waiting")
        del instance.forwards["web"]
        instance.tell("web", "removed", "no longer listed")
        await screen.until(lambda: screen.rows() == ["db", "api"])
        assert (screen.panel.current or {})["id"] == "db"


@played
async def test_text_from_outside_is_shown_as_it_is() -> None:
    instance = Instance(forward("web", State.FAILED, error=FOREIGN, nextStep=FOREIGN, target=FOREIGN, pod=FOREIGN))
    instance.answers["events"] = [event("web", "failed", FOREIGN)]
    instance.answers["logs"] = [event("web", "kubectl", FOREIGN)]
    instance.answers["info"] |= {"mistakes": [FOREIGN]}
    instance.answers["namespaces"] = [FOREIGN]
    instance.refused = FOREIGN
    async with showing(instance, size=(250, 40)) as screen:
        assert (await screen.shows(FOREIGN)).count(FOREIGN) >= 3
        for key in ("e", "l", "enter", "n"):
            await screen.press(key)
            await screen.shows(FOREIGN)
            await screen.press("escape")
        await screen.press("r")
        await screen.until(lambda: bool(screen.panel._notifications))
        await screen.shows(FOREIGN)


@pytest.mark.parametrize(("own", "rings"), [(False, 1), (True, 0)])
@played
async def test_the_bell_rings_for_a_lost_forward_unless_the_instance_itself_rings(
    own: bool, rings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung: list[int] = []
    monkeypatch.setattr(Panel, "bell", lambda _: rung.append(1))
    instance = Instance(forward("web", notify="bell"), forward("db"))
    async with showing(instance, own) as screen:
        for id in ("web", "db"):
            for state in ("active", "waiting"):
                instance.forwards[id] |= {"state": state}
                instance.tell(id, state, "so it is", state=state)
        await screen.shows("2 waiting")
        assert len(rung) == rings


@played
async def test_it_ends_with_the_instance_and_a_lost_connection_is_made_again() -> None:
    instance = Instance(forward("web"))
    async with showing(instance) as screen:
        lost, instance.ended = instance.ended, type(instance.ended)()
        lost.set()
        instance.forwards["db"] = forward("db")
        await screen.shows("2 active")
        instance.ended.set()
        await screen.until(lambda: screen.panel.return_value == ENDED)


@played
async def test_rates_are_shown_and_ages_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(time=lambda: NOW, monotonic=time.monotonic)
    for module in (following, program):
        monkeypatch.setattr(module, "time", clock)
    instance = Instance(forward("web", bytesOut=1000), forward("db", since=moment(NOW - 3600)))
    async with showing(instance, size=(160, 30)) as screen:
        await screen.until(lambda: "1m" in screen.row("web").split())
        instance.forwards["web"] |= {"bytesOut": 2_501_000, "connections": 7}
        instance.count("web")
        await screen.until(lambda: {"7", "2.5M/s"} <= {*screen.row("web").split()})
        instance.count()
        await screen.until(lambda: "2.5M" in screen.row("web") and "/s" not in screen.row("web"))
        drawn: list[Region] = []
        monkeypatch.setattr(screen.panel.table, "refresh", drawn.append)
        clock.time = lambda: NOW + 0.5
        for _ in range(screen.panel.view.history["web"].maxlen or 0):  # until its line is gone
            instance.count()
        drawn.clear()
        instance.count()
        assert drawn == []  # nothing has changed
        clock.time = lambda: NOW + 1
        instance.count()
        (region,) = drawn  # the age of one of them
        assert (region.height, region.width < 10) == (1, True)
        monkeypatch.undo()
        screen.panel.table.refresh(region)
        await screen.until(lambda: "1m1s" in screen.row("web").split())


@played
async def test_the_selected_row_stays_selected_when_others_pass_it() -> None:
    instance = Instance(*(forward(f"f{number}") for number in range(60)))
    async with showing(instance) as screen:
        screen.panel.view.sort_by("CONN")
        await screen.press("down")
        assert (screen.panel.current or {})["id"] == "f1"
        busy = [f"f{number}" for number in range(20, 60)]
        for id in busy:
            instance.forwards[id] |= {"connections": 1}
        instance.count(*busy)
        await screen.until(lambda: screen.rows()[:2] == ["f20", "f21"])
        assert (screen.panel.current or {})["id"] == "f1"
        await screen.until(lambda: bool(screen.row("f1")))  # it is in sight, too


@played
async def test_an_instance_of_another_version_ends_it_with_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = Instance(forward("web"))

    async def call(method: str, **params: object) -> None:
        raise Refused(f"{method} has no parameter {[*params]}")

    monkeypatch.setattr(instance, "call", call)
    panel = Panel(instance, own=False)
    async with panel.run_test():
        pass
    assert (panel.return_value, "subscribe has no parameter ['counters']" in panel.trouble) == (ENDED, True)


@played
async def test_without_an_instance_it_says_why() -> None:
    instance = Instance()
    instance.ended.set()
    panel = Panel(instance, own=False)
    async with panel.run_test():
        pass
    assert (panel.return_value, panel.trouble) == (ENDED, "Connection refused")


@played
async def test_a_terminal_that_is_gone_ends_it() -> None:
    async with showing(Instance(forward("web"))) as screen:
        screen.panel.terminal_gone()
        await screen.until(lambda: screen.panel.return_value == GONE)
