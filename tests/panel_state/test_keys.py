"""Each key and each mouse action of the panel, with Textual's pilot and a pretended instance."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from textual.widgets import DataTable

from kpf_supervise.control.client import Refused
from kpf_supervise.model import State
from kpf_supervise.panel.program import Panel
from kpf_supervise.panel_state.keys import KEYS, MOVES
from tests.panel.instance import Instance, Screen, event, forward, played, showing


def three() -> Instance:
    return Instance(forward("web"), forward("db", State.FAILED, error="it is so", nextStep="Ask"), forward("api"))


def test_every_key_has_an_action() -> None:
    for key in KEYS:
        assert hasattr(Panel, f"action_{key.action}"), key
    bound = {name for key in (*KEYS, *MOVES) for name in key.keys.split(",")}
    assert bound <= set(Panel._merge_bindings().key_to_bindings) | {"slash", "question_mark"}


@played
async def test_head_rows_and_footer() -> None:
    async with showing(three()) as screen:
        assert screen.lines[0].split() == [
            "kpf-supervise",
            "·",
            "shop.yaml",
            "·",
            "kind",
            "2",
            "active",
            "·",
            "1",
            "failed",
        ]
        assert screen.lines[1].split()[:4] == ["NAME", "STATE", "LOCAL", "POD"]
        assert screen.row("web").split()[:4] == ["web", "●", "active", "localhost:8080"]
        await screen.shows("s Stop")
        foot = "Enter Details s Stop r Restart n New e Events / Filter S Stop all ? Help q Quit"
        assert screen.lines[-1].strip() == foot


@pytest.mark.parametrize("size", [(20, 5), (40, 10), (60, 15), (80, 24), (200, 50)])
@played
async def test_no_size_breaks_anything_and_three_columns_stay(size: tuple[int, int]) -> None:
    many = [forward(f"f{number:02}", error="a long story " * 20) for number in range(60)]
    async with showing(Instance(*many), size=size) as screen:
        for key in ("", "question_mark", "e", "enter", "n"):
            if key:
                await screen.press(key)
            assert len(screen.lines) == size[1]
            await screen.press("escape")
        if size[0] >= 40:
            assert screen.lines[1].split()[:3] == ["NAME", "STATE", "LOCAL"]
            assert "q Quit" in screen.lines[-1]


@played
async def test_one_is_stopped_started_and_restarted() -> None:
    instance = three()
    async with showing(instance) as screen:
        await screen.press("s", "down", "r")
        await screen.until(lambda: len(instance.calls) == 2)
        instance.forwards["web"] = forward("web", State.STOPPED)
        instance.tell("web", "stopped", "localhost:8080 is released")
        await screen.press("k")
        await screen.shows("s Start")
        await screen.press("s")
        await screen.until(lambda: len(instance.calls) == 3)
        stop, restart, start = instance.calls
        assert (stop, restart) == (("portforward:stop", {"id": "web"}), ("restart", {"id": "db"}))
        assert start == ("restart", {"id": "web"})


@played
async def test_a_call_that_is_refused_is_told() -> None:
    instance = three()
    async with showing(instance) as screen:
        instance.refused = "port 8080 of [localhost] is taken by nginx"
        await screen.press("r")
        await screen.shows("port 8080 of [localhost] is taken by nginx")


@played
async def test_those_that_are_marked_and_those_of_a_folded_line_or_a_group_go_together() -> None:
    instance = Instance(forward("web/a"), forward("web/b"), forward("db"))
    async with showing(instance) as screen:
        await screen.press("space", "down", "space")
        await screen.shows("2 marked")
        await screen.press("r")
        await screen.until(lambda: [call[1]["id"] for call in instance.calls] == ["web/a", "db"])
        await screen.press("escape")
        assert screen.panel.view.marked == set()
        await screen.press("home", "left")
        assert screen.rows() == ["web", "db"]
        instance.calls.clear()
        await screen.press("s")
        await screen.until(lambda: [call[1]["id"] for call in instance.calls] == ["web/a", "web/b"])
        await screen.press("right")
        assert screen.rows() == ["web/a", "web/b", "db"]
        await screen.press("v")
        await screen.shows("▾ shop (3)")
        assert screen.rows()[0] == "shop"
        await screen.press("home", "enter")
        assert screen.rows() == ["shop"]
        instance.calls.clear()
        await screen.press("r", "enter")
        await screen.until(lambda: len(instance.calls) == 3)
        assert len(screen.rows()) == 4
        await screen.press("v", "v", "v")
        assert screen.panel.view.grouping == ""


@played
async def test_stop_all_asks_only_where_connections_are_open_and_can_be_undone() -> None:
    gone = forward("extra", declared=False, remote="http", localPort=9000, address="::1")
    instance = Instance(forward("web", connections=1), forward("db"), forward("off", State.STOPPED), gone)
    own = {"kubeconfig": "/home/me/other", "hold": "60s", "children": 2}
    instance.answers["describe"] = {"settings": own | {"lazy": False}, "own": [*own], "connections": []}
    async with showing(instance) as screen:
        await screen.press("S")
        await screen.shows("1 connection is open. Stop all forwards?")
        await screen.press("n", "S", "escape")
        assert instance.calls == []
        await screen.press("S", "y")
        await screen.until(lambda: instance.calls == [("stop_all", {})])
        del instance.forwards["extra"]
        for id in ("web", "db"):
            instance.forwards[id] = forward(id, State.STOPPED)
            instance.tell(id, "stopped", "released")
        instance.tell("extra", "removed", "no longer listed")
        await screen.shows("3 stopped")
        instance.calls.clear()
        await screen.press("X")
        await screen.until(lambda: len(instance.calls) == 3)
        assert instance.calls[:2] == [("restart", {"id": "web"}), ("restart", {"id": "db"})]
        again = {"id": "extra", "resource_type": "service", "name": "extra", "remote_port": "http", "local_port": 9000}
        assert instance.calls[2][1].items() >= (again | own | {"address": "::1"}).items()
        await screen.press("X")  # nothing is left to undo: all that are stopped
        await screen.until(lambda: ("restart", {"id": "off"}) in instance.calls)


@played
async def test_stop_all_by_a_click_stops_at_once_where_nothing_is_open() -> None:
    instance = three()
    async with showing(instance) as screen:
        await screen.shows("Stop all")
        await screen.click("Stop all")
        await screen.until(lambda: instance.calls == [("stop_all", {})])


@pytest.mark.parametrize(("own", "asks"), [(True, True), (False, False)])
@played
async def test_quitting_asks_only_if_it_ends_open_connections(own: bool, asks: bool) -> None:
    instance = Instance(forward("web", held=2))
    async with showing(instance, own) as screen:
        await screen.press("q")
        if asks:
            await screen.shows("2 connections are open. Quit and stop all?")
            await screen.press("n")
            assert screen.panel.return_value is None
            await screen.press("q")
            await screen.shows("Quit and stop all?")
            await screen.click("y  quit")
        await screen.until(lambda: screen.panel.return_value == 0)


@played
async def test_moving() -> None:
    async with showing(Instance(*(forward(f"f{number:02}") for number in range(60))), size=(100, 24)) as screen:

        def selected() -> str:
            return screen.panel.current["id"] if screen.panel.current else ""

        places = []
        for key in ("j", "down", "k", "up", "G", "home", "end", "g"):
            await screen.press(key)
            places.append(selected())
        assert places == ["f01", "f02", "f01", "f00", "f59", "f00", "f59", "f00"]
        await screen.press("pagedown")
        assert "f05" < selected() < "f30"
        await screen.press("pageup")
        assert selected() == "f00"


@played
async def test_what_is_below_the_fold_is_told() -> None:
    many = [forward(f"f{number:02}", State.FAILED if number > 55 else State.ACTIVE) for number in range(60)]
    async with showing(Instance(*many), size=(100, 24)) as screen:
        count = int((await screen.shows(" more (4 failed)")).partition("↓ ")[2].split()[0])
        assert 40 < count < 56
        await screen.press("end")
        await screen.until(lambda: " more" not in screen.text)
        await screen.pilot.hover(DataTable, offset=(5, 5))
        screen.panel.table.scroll_to(y=0, animate=False)  # as the wheel does
        await screen.shows(" more (4 failed)")


@played
async def test_filtering() -> None:
    async with showing(three()) as screen:
        await screen.press("slash", *"db")
        await screen.shows("1 of 3")
        assert screen.rows() == ["db"]
        await screen.press("backspace", "backspace", *"shop")
        await screen.shows("3 of 3")
        await screen.press("down", "enter", "r")  # one can move while typing; after Enter, keys are keys again
        await screen.until(lambda: screen.panel.link.calls == [("restart", {"id": "api"})])  # type: ignore[attr-defined]
        await screen.press("escape")
        await screen.until(lambda: " of 3" not in screen.text)
        await screen.press("slash", *"zzz", "enter", "s")
        assert screen.rows() == []


@played
async def test_sorting_by_key_and_by_a_click_on_a_title() -> None:
    async with showing(three()) as screen:
        await screen.press("o")
        assert screen.rows() == ["api", "db", "web"]
        await screen.shows("sorted by NAME")
        await screen.press("o")
        assert screen.rows() == ["db", "web", "api"]
        await screen.press("o", "o")
        assert screen.rows() == ["web", "db", "api"]
        await screen.click("NAME")
        assert screen.rows() == ["api", "db", "web"]
        await screen.shows("NAME↓")
        await screen.click("NAME↓")
        assert screen.rows() == ["web", "db", "api"]
        await screen.shows("NAME↑")


@played
async def test_a_click_selects_and_a_second_one_opens() -> None:
    async with showing(three()) as screen:
        await screen.click("api")
        assert (screen.panel.current or {})["id"] == "api"
        assert "declared by" not in screen.text
        await screen.pilot.click(offset=(40, 4))  # the same row, elsewhere
        await screen.shows("declared by")
        await screen.click("Close")
        await screen.shows("NAME")


@played
async def test_details() -> None:
    instance = three()
    instance.forwards["db"] |= {"command": "kubectl port-forward pod/db-0 :80", "restarts": 2, "held": 1, "pod": "db-0"}
    instance.answers["describe"] = {
        "own": ["hold"],
        "settings": {"hold": "60s", "lazy": False, "reconnect": {"attempts": "unlimited"}, "groups": ["a", "b"]},
        "connections": [
            {"peer": "127.0.0.1:4711", "since": "2023-11-14T22:13:20Z", "held": True, "bytesIn": 1500, "bytesOut": 0}
        ],
    }
    instance.answers["logs"] = [
        event("db", "moved", "db-0 is terminating → db-1:80"),
        event("db", "kubectl", "Forwarding from 127.0.0.1:1 -> 80"),
    ]
    async with showing(instance) as screen:
        await screen.press("down", "enter")
        text = await screen.shows("Forwarding from 127.0.0.1:1 -> 80")
        for words in (
            "state        failed",
            "cause        it is so",
            "next step    Ask",
            "hold: 60s",
            "reconnect: attempts unlimited",
            "groups: a, b",
            "0 open, 1 held",
            "127.0.0.1:4711, ",
            " old, 1.5k in, 0 out, held",
            "moved: db-0 is terminating → db-1:80",
            "kubectl      kubectl port-forward pod/db-0 :80",
        ):
            assert words in text, words
        await screen.press("C")
        assert screen.panel.clipboard == "kubectl port-forward pod/db-0 :80"
        await screen.press("r", "s", "l")
        await screen.shows("Log of db")
        assert [call[0] for call in instance.calls] == ["restart", "portforward:stop"]
        await screen.press("escape", "escape")
        await screen.shows("NAME")
        del instance.forwards["db"]
        await screen.press("enter")
        instance.tell("db", "removed", "no longer listed")
        await screen.shows("it is no longer listed")


@played
async def test_copying_says_that_it_did() -> None:
    async with showing(three()) as screen:
        await screen.press("c")
        assert screen.panel.clipboard == "localhost:8080"
        await screen.shows("copied: localhost:8080")
        await screen.press("C")
        await screen.shows("no kubectl was started for it yet")


@played
async def test_the_browser_gets_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, browser = tmp_path / "told", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$@" > {told}.new && mv {told}.new {told}\n')
    browser.chmod(browser.stat().st_mode | stat.S_IXUSR)
    async with showing(Instance(forward("web"), forward("off", State.STOPPED))) as screen:
        monkeypatch.setenv("BROWSER", str(browser))
        await screen.press("b")
        await screen.shows("opened http://localhost:8080")
        await screen.until(told.exists)
        assert told.read_text() == "http://localhost:8080\n"
        monkeypatch.setenv("BROWSER", str(tmp_path / "nosuch"))
        await screen.press("b")
        await screen.shows("cannot run")
        await screen.press("down", "b")
        await screen.shows("it does not listen")
        for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr("sys.platform", "linux")
        await screen.press("up", "b")
        await screen.shows("no browser was found here; copied: http://localhost:8080")


@played
async def test_help_and_the_palette_show_all_keys() -> None:
    async with showing(three(), size=(120, 50)) as screen:
        await screen.press("question_mark")
        text = await screen.shows("one page down")
        for key in (*KEYS, *MOVES):
            assert key.help in text
        await screen.press("escape", "ctrl+p", *"restart it with")
        await screen.shows("r  restart it with a fresh kubectl")
        await screen.press("enter")
        await screen.until(lambda: screen.panel.link.calls == [("restart", {"id": "web"})])  # type: ignore[attr-defined]
        await screen.press("ctrl+p", *"Theme")
        await screen.shows("change the colours")
        await screen.press("enter")
        await screen.shows("atom-one-dark")
        await screen.press(*"nord")
        await screen.until(lambda: "atom-one-dark" not in screen.text)
        await screen.press("enter")
        await screen.until(lambda: screen.panel.theme == "nord")


async def begin(screen: Screen, *keys: str) -> None:
    await screen.press("n")
    for key in keys:
        await screen.press(key)
        await screen.until(lambda: "asking" not in screen.text)


@played
async def test_a_forward_is_begun_step_by_step(tmp_path: Path) -> None:
    instance = three()
    instance.answers["contexts"] += [{"name": "prod", "namespace": "shop", "current": False}]
    instance.answers["targets"] = lambda **asked: [
        {"target": f"service/cart-{asked['namespace']}", "ports": [{"port": 443, "name": "https"}]},
        {"target": "pod/x", "ports": []},
    ]
    async with showing(instance) as screen:
        await begin(screen)
        await screen.shows("kind  current")
        await screen.press(*"pro", "enter")
        await screen.shows("shop  of the context")
        await screen.press("down", "enter")
        await screen.shows("service/cart-default  443 https")
        await screen.press("escape")
        await screen.shows("shop  of the context")
        await screen.press("enter")
        await screen.shows("service/cart-shop")
        await screen.press(*"cart", "enter")
        await screen.shows("443  https")
        await screen.press("enter")
        await screen.shows("prod › shop › service/cart-shop › 443")
        await screen.shows("8443")
        await screen.press("enter")
        await screen.shows("start and add it to the file")
        instance.forwards["cart-shop"] = forward("cart-shop", declared=False)
        await screen.press("enter")
        await screen.shows("cart-shop listens on localhost:8080")
        wanted = {"resource_type": "service", "name": "cart-shop", "namespace": "shop", "context": "prod"}
        assert instance.calls == [("portforward:start", wanted | {"local_port": 8443, "remote_port": 443})]
        assert (screen.panel.current or {})["id"] == "cart-shop"


@played
async def test_what_cannot_be_listed_is_typed() -> None:
    instance = three()
    instance.answers |= {"namespaces": Refused("you may not list namespaces"), "targets": Refused("nor [anything]")}
    async with showing(instance) as screen:
        await begin(screen)
        await screen.shows("you may not list namespaces. Type it instead")
        await screen.shows("shop  of the context")
        await screen.press(*"data", "enter")
        await screen.shows("nor [anything]. Type it instead")
        await screen.press(*"sts/db", "enter")
        await screen.shows("sts/db")
        await screen.press(*"http", "enter")
        await screen.shows("local port?")
        await screen.press(*"70000", "enter")  # what is typed replaces the proposal
        await screen.shows("70000 is not a port")
        await screen.press("ctrl+u", *"0", "enter")
        await screen.shows("start")
        instance.refused = "statefulset is no [kind]"
        await screen.press("enter")
        await screen.shows("statefulset is no [kind]")
        (call,) = instance.calls
        wanted = {"resource_type": "sts", "name": "db", "namespace": "data", "local_port": 0, "remote_port": "http"}
        assert call[1].items() >= wanted.items()
        assert call[1]["id"] == "db-http"  # a forward has the name db already


@played
async def test_it_is_added_to_the_file_only_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    text = "forwards:\n  # mine\n  web: {target: service/web, ports: 8080}\n"
    file.write_text(text)
    instance = Instance(forward("web"), forward("api", declared=False, localPort=9000, context="kind"))
    instance.answers["info"] |= {"config": str(file)}
    own = {"namespace": "shop", "context": "kind"}
    instance.answers["describe"] = {"settings": own | {"hold": "30s"}, "own": [*own], "connections": []}
    async with showing(instance) as screen:
        await screen.press("w")
        await screen.shows("web is declared by the file")
        await screen.press("down", "w")
        shown = await screen.shows("Add these lines to ")
        assert 'ports: "9000:80"' in shown
        assert "context" not in shown  # the file uses it anyway
        await screen.press("escape")
        assert file.read_text() == text
        await screen.press("w")
        await screen.shows("Add these lines to ")
        await screen.press("y")
        await screen.shows("api is in the file now")
        added = '  api:\n    target: service/api\n    ports: "9000:80"\n    namespace: shop\n'
        assert file.read_text() == text + added
        await screen.press("w")
        await screen.shows("Add these lines to ")
        await screen.press("y")
        await screen.shows("this key is in line 4 already")


@played
async def test_without_a_file_nothing_is_written_or_edited() -> None:
    instance = three()
    async with showing(instance) as screen:
        instance.answers["info"] |= {"config": None}
        instance.tell(None, "notice", "look")
        await screen.shows("· no file ·")
        await screen.press("w")
        await screen.shows("there is no file to write into")
        await screen.press("E")
        await screen.shows("there is no file")


@played
async def test_events_are_whole_wrapped_searched_and_followed() -> None:
    long = "a long story " * 30 + "with an end"
    instance = three()
    instance.answers["events"] = [event("web", "failed", long), *(event("db", "active", f"n{i}") for i in range(80))]
    async with showing(instance, size=(100, 20)) as screen:
        await screen.press("e")
        await screen.shows("n79")
        instance.tell("db", "active", "the newest [one]")
        await screen.shows("the newest [one]")
        await screen.press("g")
        await screen.shows("with an end")
        instance.tell("db", "active", "while one looks back")
        await screen.press("down")
        assert "while one looks back" not in screen.text
        await screen.press("G")
        await screen.shows("while one looks back")
        await screen.press("pageup", "pagedown", "slash", *"n42")
        await screen.until(lambda: "n42" in screen.text and "n41" not in screen.text)
        await screen.press("enter", "escape")
        await screen.shows("while one looks back")
        await screen.press("escape")
        await screen.shows("NAME")


@played
async def test_the_log_of_one_follows_with_the_words_of_its_kubectl() -> None:
    instance = three()
    instance.answers["logs"] = [event("web", "kubectl", "Forwarding from 127.0.0.1:1 -> 80")]
    async with showing(instance) as screen:
        await screen.press("l")
        await screen.shows("Forwarding from")
        instance.tell("web", "kubectl", "Handling connection for 1")
        instance.tell("db", "active", "another")
        await screen.shows("Handling connection for 1")
        assert "another" not in screen.text


@played
async def test_keys_in_the_details_are_about_that_forward_alone() -> None:
    instance = three()
    async with showing(instance) as screen:
        await screen.press("space", "home", "down", "enter")
        await screen.shows("declared by")
        await screen.press("r")
        await screen.until(lambda: instance.calls == [("restart", {"id": "db"})])  # although another is marked
        del instance.forwards["db"]
        instance.tell("db", "removed", "no longer listed")
        await screen.shows("it is no longer listed")
        await screen.press("s", "r", "c", "C", "b", "l")
        await screen.shows("it is no longer listed")
        assert len(instance.calls) == 1
        await screen.press("escape", "r")
        await screen.until(lambda: instance.calls[1:] == [("restart", {"id": "web"})])
