"""Whatever is imported: what is printed can be read, and nothing from outside becomes anything but a value or a word of
a comment."""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kpf_supervise.config.errors import ConfigError
from kpf_supervise.importing import writing
from kpf_supervise.importing.conversion import convert
from kpf_supervise.loading.loader import parse
from tests.importing.examples import EXAMPLES

CASES = int(os.environ.get("HISTORIES", "100"))  # always the same ones, unless a number is given
FIXED = "HISTORIES" not in os.environ
KINDS = {"target", "selector", "ports", "namespace", "context", "kubeconfig", "address", "enabled", "lazy"}
HOSTILE = "a\x1b]0;owned\x07\nforwards: {evil: 1}\r\n# \u202e\u2028 \ud800 'x' \"y\" : *a &b !!c {{d}} $(e) `f` \\"
SIGNS = """'"\\#;&|()<>$`{}[]:,!*%@~=\n\t """
WORDS = [
    "kubectl",
    "port-forward",
    "svc/web",
    "80",
    "8080:80",
    "-n",
    "--context",
    "$(kubectl get pods -l a=b)",
    "sh -c ",
]
ODD = ["kubefwd svc", "web:", "\x1b[2J", "\u2028", "\u202e", "\N{GRINNING FACE}"]
PIECES = st.sampled_from([*SIGNS, *WORDS, *ODD])
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=30).map("".join)


def checked(data: bytes) -> str:
    """What is printed, after all that must hold of it."""
    refused = ""
    try:
        made = convert(data, "it")
    except ConfigError as error:
        refused = str(error)
    assert all(map(str.isprintable, refused.splitlines()))
    if refused:
        return ""
    lines = made.text.removesuffix("\n").split("\n")
    assert all(map(str.isprintable, lines))
    assert all(map(str.isprintable, made.lost))
    read = yaml.compose(made.text)
    top = {key.value: value for key, value in read.value} if read is not None else {}
    if made.forwards:
        config = parse(made.text, "kpf.yaml", {})
        names = {forward.id.partition("/")[0] for forward in config.forwards}
        assert len(names) + len(config.services) == made.forwards
        assert top.keys() <= {"forwards", "services", "context", "namespace"}
        for _, forward in top["forwards"].value if "forwards" in top else ():
            assert {key.value for key, _ in forward.value} <= KINDS
    else:
        assert top.keys() <= {"context", "namespace"}
    return made.text


@pytest.mark.random
@pytest.mark.timeout(60 + CASES / 50)
@settings(max_examples=CASES, deadline=None, derandomize=FIXED, database=None)
@given(text=TEXTS)
@example(text=f"kubectl port-forward --context '{HOSTILE}' svc/web 80")
@example(text=HOSTILE)
@example(text="kubefwd svc & kubefwd svc")
def test_any_lines(text: str) -> None:
    checked(text.encode(errors="surrogatepass"))


@pytest.mark.random
@pytest.mark.timeout(60 + CASES / 50)
@settings(max_examples=CASES, deadline=None, derandomize=FIXED, database=None)
@given(data=st.data(), name=st.sampled_from(sorted(EXAMPLES)))
def test_any_change_of_an_example(data: st.DataObject, name: str) -> None:
    text = EXAMPLES[name][0]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(at, min(at + 10, len(text))))
        text = text[:at] + data.draw(TEXTS) + text[end:]
    checked(text.encode(errors="surrogatepass"))


def changed(value: Any, wrong: Any) -> list[Any]:
    """The value with each part of it, in turn, in place of which stands something else."""
    if isinstance(value, dict):
        return [{**value, key: each} for key in value for each in (*changed(value[key], wrong), wrong)]
    if isinstance(value, list):
        parts = [(at, each) for at in range(len(value)) for each in (*changed(value[at], wrong), wrong)]
        return [[*value[:at], each, *value[at + 1 :]] for at, each in parts]
    return []


WRONG = [HOSTILE, None, ["a", {"b": "c"}], {"a": "b"}, -1]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize("name", ["kftray", "kubeport", "localport", "skaffold", "devspace", "process-compose"])
def test_anything_in_place_of_a_value(name: str, wrong: Any) -> None:
    """The files are read as YAML, and what is changed is written as JSON, which is YAML, too."""
    for document in yaml.safe_load_all(EXAMPLES[name][0]):
        for each in changed(document, wrong):
            body = json.dumps(each)
            if isinstance(each, dict):  # by the first keys of its lines, the tool is recognized
                body = "\n".join(f"{key}: {json.dumps(value)}" for key, value in each.items())
            checked(body.encode(errors="surrogatepass"))


def test_what_is_hostile_stays_a_value() -> None:
    text = checked(json.dumps([{"service": "web", "local_port": 80, "remote_port": 80, "alias": HOSTILE}]).encode())
    assert re.search(r"(?m)^  a-0-owned-forwards-evil-1-[\w-]+:$", text), text
    text = checked(json.dumps([{"service": HOSTILE, "local_port": 80, "remote_port": 80, "context": HOSTILE}]).encode())
    assert "evil" in text
    assert all(line.startswith("#") or line.startswith("  #") for line in text.splitlines())


def test_credentials_are_not_repeated() -> None:
    text = "kubectl port-forward --token hunter22222 svc/web 80; xkubectl port-forward --password=hunter22222 svc/a 80"
    made = convert(text.encode(), "it")
    assert "hunter" not in made.text + "".join(made.lost)
    assert len(made.lost) == 2


def test_many_forwards_with_clashes() -> None:
    text = "\n".join(f"kubectl port-forward svc/web-{number % 100} 8080:80" for number in range(200))
    made = convert(text.encode(), "it")
    assert made.forwards == 100
    assert len(made.lost) == 100 + 99
    assert len(parse(made.text, "f", {}).forwards) == 100


def test_more_than_can_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "LARGEST", 100)
    made = convert(b"kubectl port-forward svc/web 80", "it")
    assert made.lost == ("not kept: all of it: this is more than 200 kB, and no more is read. Split it",)
