"""The plugin that a kubeconfig names, and the entry in front of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kpf_supervise.sign_in.kuberc import file_of, restricted, restricts
from kpf_supervise.sign_in.plugin import in_front, plugin_of

EXEC = {"apiVersion": "client.authentication.k8s.io/v1", "command": "aws", "args": ["eks", "get-token"], "env": None}


def user(**more: Any) -> dict[str, Any]:
    return {"exec": {**EXEC, **more}}


def test_what_it_says() -> None:
    found = plugin_of(user(env=[{"name": "AWS_PROFILE", "value": "dev"}], provideClusterInfo=True, installHint="x"))
    assert found is not None
    assert (found.line(Path("/home")), found.name) == (["aws", "eks", "get-token"], "aws")
    assert found.environment({"A": "b"}, "{}") == {"A": "b", "AWS_PROFILE": "dev", "KUBERNETES_EXEC_INFO": "{}"}
    assert (found.mode, found.asks, found.cluster_info) == ("IfAvailable", True, True)


@pytest.mark.parametrize(("command", "run"), [("./b/login", "/etc/b/login"), ("/b/login", "/b/login"), ("login",) * 2])
def test_a_path_is_relative_to_the_file(command: str, run: str) -> None:
    found = plugin_of(user(command=command))
    assert found is not None
    assert found.line(Path("/etc"))[0] == run


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"exec": None},
        {"exec": 5},
        {"auth-provider": {"name": "gcp"}},
        user(apiVersion=""),
        user(command=""),
        user(interactiveMode="Sometimes"),
        user(args="eks"),
        *({**user(), key: "REDACTED"} for key in ("token", "tokenFile", "username", "client-certificate-data")),
    ],
)
def test_what_kubectl_is_to_deal_with(entry: dict[str, Any]) -> None:
    """Beside other credentials it runs no plugin; what it would refuse it refuses itself."""
    assert plugin_of(entry) is None


def test_what_it_is_told() -> None:
    found = plugin_of(user(provideClusterInfo=True))
    assert found is not None
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a"}}
    cluster = {
        "server": "https://a",
        "certificate-authority-data": "QUJD",
        "insecure-skip-tls-verify": False,
        "extensions": [{"name": "other", "extension": 1}, extension],
    }
    told = json.loads(found.info(cluster, terminal=True))
    assert told == {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "spec": {
            "interactive": True,
            "cluster": {"server": "https://a", "certificate-authority-data": "QUJD", "config": {"audience": "a"}},
        },
    }
    plain = plugin_of(user())
    assert plain is not None
    assert json.loads(plain.info(cluster, terminal=False))["spec"] == {"interactive": False}


def test_the_entry_in_front_keeps_who_is_impersonated_and_nothing_secret() -> None:
    secret = user(env=[{"name": "TOKEN", "value": "Gehe1m"}], args=["--password", "Gehe1m"])
    whole = {**secret, "as": "bob", "as-groups": ["dev"], "as-user-extra": {"a": ["b"]}, "auth-provider": None}
    text = in_front("me", whole, ["/usr/bin/python", "-IS", "helper.py", "/run/c"])
    (entry,) = json.loads(text)["users"]
    assert "Gehe1m" not in text
    assert entry == {
        "name": "me",
        "user": {
            "as": "bob",
            "as-groups": ["dev"],
            "as-user-extra": {"a": ["b"]},
            "exec": {
                "apiVersion": "client.authentication.k8s.io/v1beta1",
                "command": "/usr/bin/python",
                "args": ["-IS", "helper.py", "/run/c"],
                "interactiveMode": "Never",
            },
        },
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", False),
        ("defaults: []", False),
        ("credentialPluginPolicy: AllowAll", False),
        ("credentialPluginPolicy: ''", False),
        ("credentialPluginPolicy: DenyAll", True),
        ("credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist: [{name: aws}]", True),
        ("credentialPluginAllowlist: [{name: aws}]", True),
        ("credentialPluginPolicy: [", True),
        ("- credentialPluginPolicy", True),
    ],
)
def test_a_kuberc_that_restricts_plugins(text: str, found: bool) -> None:
    assert restricts(text) is found


def test_which_kuberc_kubectl_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".kube").mkdir()
    usual, other = tmp_path / ".kube/kuberc", tmp_path / "other"
    assert restricted({}) is None
    usual.write_text("credentialPluginPolicy: DenyAll")
    assert restricted({}) == usual
    assert restricted({"KUBERC": "off"}) is restricted({"KUBECTL_KUBERC": "false"}) is None
    assert file_of({"KUBERC": str(other)}) == other
    assert restricted({"KUBERC": str(other)}) is None
