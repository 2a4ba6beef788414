from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kpf_supervise.events.notifications import desktop_command
from kpf_supervise.events.summary import Digest


def told(digest: Digest, states: str, now: float = 0.0) -> list[str]:
    """What is told of one forward that goes through these states."""
    texts = (digest.heard("web", state, "m", now) for state in states.split())
    return [text for text in texts if text is not None]


@pytest.mark.parametrize(
    ("states", "texts"),
    [
        ("connecting active", []),
        ("connecting active connecting active", []),  # moved
        ("active waiting connecting", ["web was lost: m"]),
        ("active connecting waiting", ["web was lost: m"]),
        ("active connecting reconnecting connecting reconnecting", ["web was lost: m"]),
        ("connecting failed failed", ["web has failed: m"]),
        ("waiting connecting active", []),  # it was never there before
        ("active stopped connecting active", []),
    ],
)
def test_what_is_told(states: str, texts: list[str]) -> None:
    assert told(Digest(), states) == texts


def test_one_that_comes_back_after_the_window_is_told() -> None:
    digest = Digest()
    assert told(digest, "active waiting", 0) == ["web was lost: m"]
    assert told(digest, "connecting active", 31) == ["web is back: m"]


def test_one_that_flaps_is_summed_up() -> None:
    digest = Digest()
    assert told(digest, "active" + " waiting connecting active" * 3, 1) == ["web was lost: m"]
    assert digest.next == 31
    assert list(digest.due(30)) == []
    assert list(digest.due(31)) == [("web", "web is active; in the last 30 s: back 3×, lost 2×")]
    assert list(digest.due(99)) == []
    assert digest.next == float("inf")


def test_the_desktops_notifier_gets_one_word_and_no_markup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "notify-send"
    program.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr("sys.platform", "linux")
    words = desktop_command("-x $(id) was lost")
    assert words is not None
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "--app-name=kpf-supervise|--|kpf-supervise|-x $(id) was lost|"
    marked = desktop_command('<a href="https://a">log in</a> & go')
    assert marked is not None
    assert marked[-1] == '&lt;a href="https://a"&gt;log in&lt;/a&gt; &amp; go'
    monkeypatch.setattr("sys.platform", "darwin")
    assert (desktop_command("it") or [])[-1] == "it"
