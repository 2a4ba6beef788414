"""Which editor and which browser the panel runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kpf_supervise.panel_state import hands


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"EDITOR": "vim"}, ["vim"]),
        ({"EDITOR": "vim", "VISUAL": "code --wait"}, ["code", "--wait"]),
        ({"EDITOR": "vim", "VISUAL": ""}, ["vim"]),
        ({"EDITOR": "vim", "VISUAL": "an 'open quote"}, ["vim"]),
    ],
)
def test_the_editor_of_the_user(environment: dict[str, str], words: list[str]) -> None:
    assert hands.editor(environment) == words


def program(folder: Path, name: str) -> None:
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)


def test_without_one_it_is_the_usual_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hands.editor({}) == []
    program(tmp_path, "vi")
    assert hands.editor({}) == ["vi"]


def test_a_browser_that_opens_a_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("xdg-open", "w3m"):
        program(tmp_path, name)
    assert hands.browser({}) == []  # it would draw on this terminal
    assert hands.browser({"DISPLAY": ":0"}) == ["xdg-open"]
    assert hands.browser({"BROWSER": "firefox -new-tab:w3m", "DISPLAY": ":0"}) == ["firefox", "-new-tab"]
    monkeypatch.setattr("sys.platform", "darwin")
    assert hands.browser({}) == ["open"]
