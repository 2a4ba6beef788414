"""What of a command line is complete, and what is begun. The scripts themselves run in tests/e2e/test_completion.py."""

from __future__ import annotations

import os

import pytest

from kpf_supervise.shell_completion.shells import words_of


@pytest.mark.parametrize(
    ("line", "words", "last"),
    [
        ("", [], ""),
        ("kpfctl", [], "kpfctl"),
        ("kpfctl ", [], ""),
        ("kpfctl st", [], "st"),
        ("kpfctl stop ", ["stop"], ""),
        ("kpfctl stop web/8080:h", ["stop"], "web/8080:h"),
        ("/a/bin/kpfctl  -f  'a b.yaml' stop x", ["-f", "a b.yaml", "stop"], "x"),
        ("kpfctl stop 'web/", ["stop"], "web/"),
        ("kpfctl stop '", ["stop"], ""),
        ('kpfctl -f "a b', ["-f"], "a b"),
        ("KPF_SOCKET=/a A=b kpfctl stop x", ["stop"], "x"),
        ("kpfctl -f ~/a.yaml list ", ["-f", os.path.expanduser("~/a.yaml"), "list"], ""),
        ("kpfctl start --namespace=sh", ["start"], "--namespace=sh"),
        ("kpfctl start # ", ["start", "#"], ""),
    ],
)
def test_words(line: str, words: list[str], last: str) -> None:
    assert words_of(line) == (words, last)
