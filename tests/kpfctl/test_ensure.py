"""What kpfctl ensure asks for, and what it prints, without an instance."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from kpf_supervise.control import client
from kpf_supervise.control.unix_socket import control_socket
from kpf_supervise.events import serialize
from kpf_supervise.kpfctl import ensure, program
from kpf_supervise.kpfctl.group import main
from kpf_supervise.model import TEMPLATE, State, Status, Target
from kpf_supervise.runtime.background import background_socket, in_background
from kpf_supervise.runtime.paths import runtime_folder, socket_of

Asked = list[tuple[Any, ...]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    """What is asked for; each answer is a forward on port 40001."""
    calls: Asked = []
    monkeypatch.setenv("KUBECONFIG", "/a:b")
    monkeypatch.delenv("KPF_SOCKET", raising=False)

    def answer(*call: Any) -> dict[str, Any]:
        calls.append(call)
        forward = replace(TEMPLATE, id="web", target=Target("service", "web"), address=ADDRESS[0], remote=80)
        status = Status(forward=forward, state=State.ACTIVE, port=40_001, lease=0.0)
        return serialize.port_forward(status) | {"shared": True, "socket": "/s"}

    monkeypatch.setattr(ensure, "ensure_anywhere", answer)
    monkeypatch.setattr(ensure, "ensure_at", answer)
    yield calls
    ADDRESS[:] = ["localhost"]


ADDRESS = ["localhost"]


def run(*words: str) -> Result:
    assert program
    return CliRunner().invoke(main, ["ensure", *words])


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["svc/web", "80"], ("service", "web", 0, 80)),
        (["service/web", "http"], ("service", "web", 0, "http")),
        (["service/web", ":http"], ("service", "web", 0, "http")),
        (["web-0", "8080:80"], ("pod", "web-0", 8080, 80)),
        (["-l", "app in (a, b)", "80"], ("selector", "app in (a, b)", 0, 80)),
    ],
)
def test_the_target_is_kubectl_s_and_the_local_port_is_any_unless_it_is_named(
    asked: Asked, words: list[str], wanted: tuple[Any, ...]
) -> None:
    done = run(*words)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "localhost:40001\n", "")
    ((kubeconfigs, timeout, given),) = asked
    assert tuple(given[key] for key in ("resource_type", "name", "local_port", "remote_port")) == wanted
    assert kubeconfigs == ("/a", os.path.abspath("b"))
    assert (timeout, given["ttl"], given["namespace"], given["context"]) == (30.0, "1800.000s", None, None)


def test_a_named_instance_counts_its_own_defaults(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KPF_SOCKET", "/of/a/command.sock")
    assert run("web-0", "80", "--kubeconfig", __file__, "--ttl", "2h").exit_code == 0
    assert run("web-0", "80").exit_code == 0
    assert [call[0] for call in asked] == [Path("/of/a/command.sock")] * 2
    assert [call[2].get("kubeconfig") for call in asked] == [__file__, None]


@pytest.mark.parametrize(("address", "host"), [("0.0.0.0", "127.0.0.1"), ("::1", "::1"), ("127.0.0.5", "127.0.0.5")])
def test_the_address_is_one_that_can_be_connected_to(asked: Asked, address: str, host: str) -> None:
    ADDRESS[:] = [address]
    shown = f"[{host}]:40001" if ":" in host else f"{host}:40001"
    assert run("svc/web", "80").stdout == f"{shown}\n"
    facts = json.loads(run("svc/web", "80", "-o", "json").stdout)
    assert (facts["address"], facts["host"], facts["port"]) == (shown, host, 40_001)
    assert {"id", "state", "leaseEnds", "shared", "namespace", "context", "socket"} <= set(facts)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["service/web:80", "80"], "Write: kpfctl ensure service/web 80"),
        (["service/web"], "Name the port to forward, for example: kpfctl ensure service/web 8080"),
        (["service/web", "80", "81"], "Name one port of the target"),
        (["-l", "app=web"], "Missing argument"),
        (["service/web", "80:81:82"], "has more than LOCAL:REMOTE"),
        (["service/web", "80", "--ttl", "soon"], '"soon" is not a duration'),
        (["service/web", "80", "--ttl", "0"], "ttl: a duration of nothing"),
        (["service/web", "80", "--ttl", "9000h"], "is longer than a year"),
        (["service/web", "80", "-n", "No_Such"], 'namespace: "No_Such" is not'),
        (["service/web", "80", "--kubeconfig", "/no/such"], "does not exist"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_told(asked: Asked, words: list[str], said: str) -> None:
    done = run(*words)
    assert (done.exit_code, done.stdout, asked) == (2, "", [])
    assert said in done.stderr


def test_each_kubeconfig_has_an_instance_of_its_own_in_the_background() -> None:
    assert background_socket(("/a", "/b")) != background_socket(("/a",))
    assert background_socket(("/a", "/b")) != background_socket(("/b", "/a"))  # the first one that names a user wins
    assert in_background(background_socket(()))
    for name in ("ensure.yaml", "ensure.1f0c9a2e.yaml"):
        assert not in_background(socket_of(Path(name)))


def test_without_a_name_the_user_means_his_own_instance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("KPF_SOCKET", raising=False)
    background, own = background_socket(("/a",)), runtime_folder() / "shop-1f0c9a2e.sock"
    with ExitStack() as stack:
        stack.enter_context(control_socket(background, private=True))
        assert client.find(None, None) == background
        stack.enter_context(control_socket(own, private=True))
        assert client.find(None, None) == own
        stack.enter_context(control_socket(own.with_name("web-1f0c9a2e.sock"), private=True))
        monkeypatch.setattr(client, "_named", str)
        with pytest.raises(client.NoAnswer, match=r"^2 instances run"):
            client.find(None, None)
