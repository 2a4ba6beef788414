"""Whatever a peer sends, a call ends in a value or in a Refusal; and only plain text gets any further."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Self

import pytest
import trio
from hypothesis import HealthCheck, example, given, settings

from kpf_supervise.control import jsonrpc
from kpf_supervise.control.handlers import Handlers
from kpf_supervise.control.jsonrpc import Refusal
from kpf_supervise.control.methods import METHODS, arguments
from kpf_supervise.events.board import Board
from kpf_supervise.instance.sharing import Shared
from kpf_supervise.kubectl.answers import KubeConfig
from kpf_supervise.model import TEMPLATE, Cluster, Forward, Status, Target
from kpf_supervise.sign_in.login import Login
from kpf_supervise.watching.listing import Listed, Port
from tests.anything import EXAMPLES, RANDOM, json_value, made, text

pytestmark = RANDOM

GOOD: dict[str, list[Any]] = {
    "resource_type": ["pod", "svc", "deployments.apps", "selector"],
    "name": ["a", "web-0.b", "app=web", "a in (b, c),!d"],
    "namespace": ["dev"],
    "local_port": [0, 8080],
    "remote_port": [80, "http"],
    "context": ["kind-dev", "arn:aws:eks:a:1:cluster/b c"],
    "address": ["localhost", "::1", "fe80::1%eth0", "127.0.0.1"],
    "lazy": [True],
    "counters": [True],
    "terminal": [True],
    "credential": ["{}"],
    "hold": ["30s", "0s"],
    "children": [1, 16],
    "kubeconfig": ["/dev/null", "/etc/passwd"],
    "target": ["service/web", "db-0", "app=web"],
    "id": ["web", "a.b_c-d"],
    "ttl": ["30m", "8784h"],
    "timeout": ["0s"],
    "start": [True],
}


def call(random: Random) -> tuple[str, dict[str, Any]]:
    """A right call, of which up to two parameters are anything, or left out; or no such call at all."""

    def near(good: list[Any]) -> Any:
        """A right value with something put into it."""
        right = str(random.choice(good))
        at = random.randint(0, len(right))
        return right[:at] + text(random) + right[at:]

    method = random.choice(["portforward:start", *METHODS])
    params = {name: random.choice(GOOD[name]) for name in METHODS[method]}
    for name in random.choices(sorted(params), k=random.randrange(3)) if params else ():
        params[name] = random.choice([near(GOOD[name]), text(random), json_value(random)])
    match random.randrange(20):
        case 0:
            return text(random), params
        case 1:
            return method, params | {text(random): json_value(random)}
        case 2 if params:
            del params[random.choice(sorted(params))]
    return method, params


class NoLogins:
    def of_context(self, name: str | None) -> list[Login]:
        return []


class Supervisor:
    """In the place of the real one, of the file and of the clusters: what it is given is what may go further."""

    path = None
    mistakes: list[str] = []  # noqa: RUF012
    proxy = None
    metrics = None
    logins = NoLogins()

    def __init__(self) -> None:
        self.given: list[Any] = []

    @property
    def catalog(self) -> Self:
        return self

    async def contexts(self, *place: Any) -> KubeConfig:
        self.given.append(place)
        return KubeConfig()

    async def namespaces(self, *place: Any) -> list[str]:
        self.given.append(place)
        return ["dev"]

    async def targets(self, *place: Any) -> list[Listed]:
        self.given.append(place)
        return [Listed(Target("service", "web"), (Port(80, "http"),))]

    async def ports(self, *place: Any) -> list[Port]:
        self.given.append(place)
        return [Port(80, "http")]

    async def start(self, forward: Forward) -> None:
        self.given.append(forward)

    async def ensure(self, wanted: Forward, free_id: Callable[[], str], *others: Any) -> Shared:
        self.given.append(replace(wanted, id=free_id()))
        return Shared(Status(forward=self.given[-1], lease=0.0), found=False)

    async def stop(self, ids: list[str]) -> None:
        pass

    async def restart(self, id: str) -> None:
        pass

    async def reload(self) -> None:
        pass

    def save(self) -> None:
        pass

    def template(self) -> Forward:
        return TEMPLATE


def texts(value: Any) -> list[str]:
    """All that stands in a forward, or in whatever is JSON."""
    return [value] if isinstance(value, str) else [text for each in parts(value) for text in texts(each)]


def parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    if isinstance(value, list | tuple):
        return list(value)
    return [getattr(value, name) for name in getattr(value, "__slots__", ())]


SURROGATE, FORGED = "a\ud800", "a\x1b]0;owned\x07\n21:00:00 web active"


def started(**params: Any) -> tuple[str, dict[str, Any]]:
    return "portforward:start", {"resource_type": "pod", "name": "a", "local_port": 0, "remote_port": 80} | params


@pytest.mark.long
@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(made(call))
@example(started(context=SURROGATE))
@example(started(context=FORGED))
@example(started(address="fe80::1%" + SURROGATE))
@example(started(address="fe80::1%" + FORGED))
@example(started(resource_type="selector", name="app=web,\n\u2028 a=b"))
@example(("portforward:stop", {"id": SURROGATE}))
@example((SURROGATE, {FORGED: 1}))
def test_each_call_ends_in_a_value_or_a_refusal(called: tuple[str, dict[str, Any]]) -> None:
    method, params = called
    supervisor, board = Supervisor(), Board()
    board.add(TEMPLATE)
    steering = Handlers(supervisor, board, supervisor, lambda: None, supervisor)  # type: ignore[arg-type]
    said: Any
    try:
        said = trio.run(steering.call, method, params)
    except Refusal as refusal:
        said = jsonrpc.error(refusal)["error"]
    assert json.loads(jsonrpc.encode(said)) == said
    for each in texts([said, supervisor.given]):
        assert each.isprintable(), each
        each.encode()  # raises where it has half a surrogate pair


@pytest.mark.parametrize("text", ["kind-dev", "día 🏪", "arn:aws:eks:eu-1:1:cluster/a@b"])
def test_a_context_may_have_any_printable_name(text: str) -> None:
    assert arguments(*started(context=text))["context"] == text


def test_a_selector_is_one_line() -> None:
    supervisor = Supervisor()
    steering = Handlers(supervisor, Board(), supervisor, lambda: None, supervisor)  # type: ignore[arg-type]
    trio.run(steering.call, *started(resource_type="selector", name=" app in (web,\n db),\ttier "))
    assert supervisor.given[0].target.name == "app in (web, db), tier"


def test_a_forward_may_have_its_own_kubeconfig_and_the_contexts_of_that() -> None:
    supervisor = Supervisor()
    steering = Handlers(supervisor, Board(), supervisor, lambda: None, supervisor)  # type: ignore[arg-type]
    trio.run(steering.call, *started(kubeconfig="/dev/null", hold="5s", children=3))
    (forward,) = supervisor.given
    assert (forward.cluster, forward.hold, forward.children) == (Cluster(Path("/dev/null")), 5.0, 3)
    wrongs: list[tuple[dict[str, Any], str]] = [
        ({"kubeconfig": "kube"}, 'kubeconfig: "kube" is not an absolute path'),
        ({"kubeconfig": "/nosuch/kube"}, 'kubeconfig: there is no file "/nosuch/kube"'),
        ({"hold": "5"}, 'hold: "5" has no unit'),
        ({"children": 17}, 'children: "17" is not a number of children'),
        ({"children": True}, 'children: "true" is not a number of children'),
    ]
    for wrong, said in wrongs:
        with pytest.raises(Refusal, match=f"^{said}"):
            trio.run(steering.call, *started(**wrong))


def ensured(**params: Any) -> tuple[str, dict[str, Any]]:
    return "portforward:ensure", {"resource_type": "service", "name": "web", "remote_port": 80} | params


def test_the_kubeconfigs_of_another_program_count_with_their_own_context_and_namespace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without any, those of the file count, as for a start."""
    monkeypatch.setenv("KUBECONFIG", "/own/a:/own/b")
    supervisor = Supervisor()
    own = replace(TEMPLATE, cluster=Cluster(Path("/file/kube"), "of-file"), namespace="of-file", lazy=True)
    supervisor.template = lambda: own  # type: ignore[method-assign]
    steering = Handlers(supervisor, Board(), supervisor, lambda: None, supervisor)  # type: ignore[arg-type]
    clusters: dict[str | None, tuple[Cluster, str | None]] = {
        None: (own.cluster, "of-file"),
        "/own/a:/own/b": (Cluster(), None),  # what it was started with: no option can name a list
        "/one/file": (Cluster(Path("/one/file")), None),
    }
    for kubeconfig, place in clusters.items():
        answer = trio.run(steering.call, *ensured(kubeconfig=kubeconfig))
        forward = supervisor.given[-1]
        assert ((forward.cluster, forward.namespace), forward.lazy) == (place, False)
        assert (answer["shared"], answer["leaseEnds"]) == (False, "1970-01-01T00:00:00.000Z")
    with pytest.raises(Refusal, match=r"can't use a list of 2 files: it was started with another"):
        trio.run(steering.call, *ensured(kubeconfig="/own/b:/own/a"))
    assert trio.run(steering.call, *ensured(kubeconfig="/own/b:/own/a", start=False)) is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kubeconfig": "/a:b"}, 'kubeconfig: "b" is not an absolute path'),
        ({"kubeconfig": ""}, 'kubeconfig: "" is not an absolute path'),
        ({"ttl": "0s"}, "ttl: a duration of nothing"),
        ({"ttl": "9000h"}, 'ttl: "9000h" is longer than a year'),
        ({"ttl": 30}, "ttl: 30 is not a string"),
        ({"timeout": "30"}, 'timeout: "30" has no unit'),
        ({"start": "no"}, 'start: "no" is neither true nor false'),
    ],
)
def test_what_is_wrong_in_a_request_for_a_shared_forward_is_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(Refusal, match=f"^{said}"):
        arguments(*ensured(**wrong))
