"""Variables in the values of the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given

from kpf_supervise.config.errors import ConfigError, Mistake
from kpf_supervise.config.schema import schema
from kpf_supervise.loading.interpolation import expand
from kpf_supervise.loading.loader import parse
from tests.anything import made
from tests.anything import text as any_text

ENVIRONMENT = {"A": "a", "EMPTY": "", "_x1": "long", "LINE": "1\n2", "B": "${A}"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("$A", "a"),
        ("${A}", "a"),
        ("x-${A}-$A.$_x1/", "x-a-a.long/"),
        ("${EMPTY}", ""),
        ("${B}", "${A}"),  # once
        ("$$", "$"),
        ("$$A $${A} $$$A", "$A ${A} $a"),
        ("a}b", "a}b"),
        ("${A:-d}${EMPTY:-d}${NONE:-d}", "add"),
        ("${A-d}${EMPTY-d}${NONE-d}", "ad"),
        ("${A:+r}${EMPTY:+r}${NONE:+r}", "r"),
        ("${A+r}${EMPTY+r}${NONE+r}", "rr"),
        ("${A:?why}${A?why}${EMPTY?why}", "aa"),
        ("${NONE:-}", ""),
        ("${NONE:-${A}}", "a"),
        ("${NONE:-x$$y-$A}z", "x$y-az"),
        ("${NONE:-${NONE2-${EMPTY:-deep}}}}", "deep}"),
        ("${A:-${NONE}}", "a"),  # not needed, so not missed
        ("${A:+${A}:8080}", "a:8080"),
        ("${NONE:-a:-b?c}", "a:-b?c"),
    ],
)
def test_as_in_compose(text: str, result: str) -> None:
    assert expand(text, ENVIRONMENT).text == result


HOW = "Write ${NAME}, ${NAME:-default} or ${NAME:?message}, and $$ for a dollar sign."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${NONE}", "the variable NONE is not set. Set it, or give it a default: ${NONE:-default}."),
        ("$NONE", "the variable NONE is not set. Set it, or give it a default: ${NONE:-default}."),
        ("${NONE:-${N2}}", "the variable N2 is not set. Set it, or give it a default: ${N2:-default}."),
        ("${NONE:?ask $$me}", "the variable NONE is not set: ask $me. Set it, or give it a default: ${NONE:-default}."),
        ("${EMPTY:?}", "the variable EMPTY is empty. Set it, or give it a default: ${EMPTY:-default}."),
        ("${NONE?$A}", "the variable NONE is not set: $A. Set it, or give it a default: ${NONE:-default}."),
        ("a$", f'a dollar sign that begins no variable: "$". {HOW}'),
        ("$1", f'a dollar sign that begins no variable: "$1". {HOW}'),
        ("$(id)", f'a dollar sign that begins no variable: "$(id)". {HOW}'),
        ("${}", f'"${{}}" names no variable. {HOW}'),
        ("${1A}", f'"${{1A}}" names no variable. {HOW}'),
        ("${A.b}", f'"${{A.b}}" is not how a variable is written. {HOW}'),
        ("${A:b}", f'"${{A:b}}" is not how a variable is written. {HOW}'),
        ("${A", 'a variable that is never closed: "${A". Add the }.'),
        ("${A:-b", 'a variable that is never closed: "${A:-b". Add the }.'),
        ("${A:-${B}", 'a variable that is never closed: "${A:-${B}". Add the }.'),
        ("${A:-" * 30 + "}" * 30, "variables that are nested too deeply. Give some of them plain defaults."),
        (
            "$LINE",
            'the value of "$LINE" has a line break or another invisible character. Check the value of each variable in '
            "it.",
        ),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    with pytest.raises(Mistake) as raised:
        expand(text, ENVIRONMENT)
    assert str(raised.value) == said


def said(text: str, environment: Mapping[str, str]) -> list[str]:
    try:
        parse(text, "f", environment)
    except ConfigError as error:
        return [str(each) for each in error.problems]
    return []


FILE = """\
namespace: ${NS:-shop}
forwards:
  web:
    target: ${KIND:-service}/web
    ports: ["${PORT}:80", ":81"]
    lazy: ${LAZY:-true}
    hold: ${HOLD:-1m}
    reconnect: {attempts: "${TRIES:-unlimited}"}
  db:
    target: statefulset/db
    ports: ${PORT_OF_DB:-5432}
"""


def test_a_value_is_what_it_is_after_its_variables() -> None:
    web, _, db = parse(FILE, "f", {"PORT": "8080", "KIND": "deploy", "LAZY": "false"}).forwards
    assert (str(web.target), web.local, web.remote, web.lazy, web.hold) == ("deployment/web", 8080, 80, False, 60.0)
    assert (web.namespace, web.reconnect.attempts, db.local) == ("shop", None, 5432)


def test_keys_and_the_address_of_each_service_too() -> None:
    (group,) = parse("services: {address: '${A:-each}', groups: [$G]}", "f", {"G": "x"}).services
    assert group.each_address
    assert group.template.groups == ("x",)
    assert said("forwards: {$A: {target: web, ports: 80}}", {"A": "a"})[0].startswith(
        'f:1:12: forwards.$A: "$A" cannot'
    )


def test_without_an_environment_a_dollar_sign_stands_for_itself() -> None:
    assert parse("{context: '$$a${B', forwards: {a: {target: a, ports: 1}}}", "f").template.cluster.context == "$$a${B"


def test_each_one_that_is_not_set_is_told_with_its_place() -> None:
    text = "context: ${CTX}\n" + FILE
    assert said(text, {}) == [
        "f:1:10: context: the variable CTX is not set. Set it, or give it a default: ${CTX:-default}.",
        "f:6:13: forwards.web.ports[0]: the variable PORT is not set. Set it, or give it a default: ${PORT:-default}.",
    ]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("ports: $V", "99999", 'ports: the port "${V}" is out of range, from "$V". Use 1 to 65535.'),
        ("ports: ${V:-99999}", None, 'ports: the port "99999" is out of range, from "${V:-99999}". Use 1 to 65535.'),
        ("hold: $V", "3d", 'hold: "3d" is not a duration, from "$V". Write it as in 500ms, 30s, 10m or 1h30m.'),
        ("namespace: a-$V", "Hunter2", 'namespace: "a-${V}" is not a name that Kubernetes accepts, from "a-$V". Use'),
        (
            "namespace: $V",
            "Hunter2" * 20,
            'namespace: what the environment gives does not belong here, from "$V". Check the value of each variable',
        ),
        ("target: $V", "hunter2/X", "target: what the environment gives does not belong here"),
        ("context: '$V'", "", 'context: "" is not a context\'s name, from "$V". kubectl'),
    ],
)
def test_a_wrong_value_names_its_variable_and_does_not_show_it(option: str, value: str | None, message: str) -> None:
    lines = {"target": "target: svc/web", "ports": "ports: 80", option.partition(":")[0]: option}
    text = "\n    ".join(["forwards:\n  web:", *lines.values()])
    (told,) = said(text, {} if value is None else {"V": value})
    assert told.partition(": forwards.web.")[2].startswith(message)


# Any text


def pieces(random: Random) -> str:
    parts = ("$", "$$", "{", "}", "${", ":-", "-", ":?", "?", ":+", "A", "EMPTY", "NONE", "x", " ", any_text(random, 3))
    return "".join(random.choice(parts) for _ in range(random.randrange(12)))


@given(made(pieces))
def test_nothing_but_a_mistake_is_raised(text: str) -> None:
    with suppress(Mistake):
        assert expand(text, ENVIRONMENT).text.isprintable()


@given(made(any_text))
def test_a_doubled_dollar_sign_is_one(text: str) -> None:
    plain = "".join(filter(str.isprintable, text))
    assert expand(plain.replace("$", "$$"), {}).text == plain


@given(made(lambda random: any_text(random, 70)))
def test_no_message_shows_a_long_value(value: str) -> None:
    secret = f"s3cr3t-{value}"
    options = ("namespace", "target", "selector", "hold", "lazy", "ports", "address", "protocol", "kubeconfig")
    for option in options:
        for each in said(
            f"forwards: {{web: {{{option}: '$V', {'ports: 1' if option != 'ports' else ''}}}}}", {"V": secret}
        ):
            assert "s3cr" not in each, option


# The schema


def ways(part: object) -> list[str]:
    """The patterns of the strings that may stand there."""
    if isinstance(part, dict):
        own = [part["pattern"]] if "pattern" in part else []
        return own + [pattern for each in part.get("anyOf", []) for pattern in ways(each)]
    return []


def test_the_schema_takes_a_variable_wherever_a_value_is_restricted() -> None:
    top = schema()["properties"]
    forward = top["forwards"]["additionalProperties"]["properties"]
    entry = top["forwards"]["items"]["properties"]
    restricted = {
        "proxy": top["proxy"],
        "persist": top["persist"],
        "local": top["services"]["anyOf"][0]["properties"]["local"],
        "attempts": forward["reconnect"]["properties"]["attempts"],
        "port": forward["ports"]["anyOf"][0],
        "ports": forward["ports"]["anyOf"][1]["items"],
        "groups": forward["groups"]["anyOf"][1]["items"],
        "name": entry["name"],
        **{name: forward[name] for name in ("hold", "lazy", "idle_timeout", "children", "protocol", "notify")},
    }
    for name, part in restricted.items():
        assert any(re.search(pattern, "${V}") for pattern in ways(part)), name
    assert not ways(top["forwards"]["propertyNames"]) or not re.search(
        top["forwards"]["propertyNames"]["pattern"], "${V}"
    )
