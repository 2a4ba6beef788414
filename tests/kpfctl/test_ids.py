"""What the words in the place of ids mean, for every verb that takes them."""

from __future__ import annotations

from typing import Any

import click
import pytest

from kpf_supervise.control.client import Refused
from kpf_supervise.kpfctl import program
from kpf_supervise.kpfctl.group import main
from kpf_supervise.kpfctl.ids import Words, resolve, selected
from kpf_supervise.shell_completion.completion import complete_groups, complete_ids

FORWARDS: list[dict[str, Any]] = [
    {"id": id, "localPort": port, "groups": groups}
    for id, port, groups in [
        ("web/http", 8080, ["front", "all"]),
        ("web/9090", 9090, ["front"]),
        ("web/18080:http", 18080, []),
        ("db", 5432, ["all"]),
        ("5432", 7000, []),
        ("api", 0, ["x"]),
        ("api/http", 8081, []),
        ("web-http", 8082, []),
    ]
]


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ("web/http", "web/http"),
        ("db web/http db", "db web/http"),
        ("web", "web/http web/9090 web/18080:http"),  # all ports of a name, and not web-http
        ("api", "api"),  # an id wins over a name
        ("8080", "web/http"),
        ("5432", "5432"),  # an id wins over a local port
        ("7000", "5432"),
        ("web/*", "web/http web/9090 web/18080:http"),
        ("*/http 9090", "web/http api/http web/9090"),
        ("web?http", "web/http web-http"),
        ("[ad]*", "db api api/http"),
        ("*", " ".join(each["id"] for each in FORWARDS)),
    ],
)
def test_words(words: str, ids: str) -> None:
    assert resolve(Words(words.split()), FORWARDS) == ids.split()


@pytest.mark.parametrize(
    ("words", "groups", "ids"),
    [
        ("", "front", "web/http web/9090"),
        ("", "front all", "web/http web/9090 db"),
        ("5432 web/9090", "front", "5432 web/9090 web/http"),
    ],
)
def test_groups(words: str, groups: str, ids: str) -> None:
    assert resolve(Words(words.split(), groups.split()), FORWARDS) == ids.split()


def test_all_words_that_mean_nothing_are_told() -> None:
    with pytest.raises(Refused) as raised:
        resolve(Words(["db", "wbe/http", "x*", "0", "*"], ["all", "fornt"]), FORWARDS)
    first, second, third, fourth = str(raised.value).splitlines()
    assert first == 'there is no forward "wbe/http". Did you mean web/http?'
    assert second.startswith('there is no forward "x*". There is: web/http, web/9090, ')
    assert third.startswith('there is no forward "0". ')
    assert fourth == 'no forward is in the group "fornt". There is: all, front, x'


def test_the_order_of_a_list_is_that_of_the_instance() -> None:
    assert [each["id"] for each in selected(Words(["db", "web/http"]), FORWARDS)] == ["web/http", "db"]
    assert selected(Words(), FORWARDS) == FORWARDS


def test_every_verb_that_takes_ids_takes_them_as_words_and_completes_them() -> None:
    assert program
    verbs = {name for name, verb in main.commands.items() if any(each.name in ("id", "ids") for each in verb.params)}
    assert verbs == {"list", "ls", "describe", "env", "logs", "restart", "stop", "wait"}
    for name in verbs:
        (ids,) = [each for each in main.commands[name].params if each.name == "ids"]
        assert isinstance(ids, click.Argument)
        assert (ids.nargs, ids._custom_shell_complete) == (-1, complete_ids)
        (groups,) = [each for each in main.commands[name].params if each.name == "groups"]
        assert groups._custom_shell_complete is complete_groups
