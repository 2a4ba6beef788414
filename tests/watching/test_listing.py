"""What is read from listings for people who choose a target and a port."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kpf_supervise.kubectl.answers import Malformed
from kpf_supervise.model import Target
from kpf_supervise.watching.listing import Listed, Port, read_names, read_ports, read_targets

CONTAINER = {
    "name": "app",
    "ports": [
        {"name": "http", "containerPort": 8080},
        {"containerPort": 9090, "protocol": "TCP"},
        {"name": "dns", "containerPort": 53, "protocol": "UDP"},
    ],
}


def listing(*items: Any) -> bytes:
    return json.dumps({"kind": "List", "items": list(items)}).encode()


def named(name: str, spec: Any = None, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec or {}, **more}


def test_services_that_lead_to_pods_with_their_tcp_ports() -> None:
    ports = [{"name": "http", "port": 80}, {"port": 53, "protocol": "UDP"}, {"port": 9090}]
    found = read_targets(
        "service",
        listing(
            named("web", {"selector": {"app": "web"}, "ports": ports}),
            named("external", {"type": "ExternalName", "selector": {"app": "web"}, "ports": ports}),
            named("manual", {"ports": ports}),
            named("api", {"selector": {"app": "api"}}),
        ),
    )
    assert found == [
        Listed(Target("service", "api"), ()),
        Listed(Target("service", "web"), (Port(80, "http"), Port(9090, ""))),
    ]


def test_workloads_and_pods_have_the_ports_of_their_containers() -> None:
    sidecar = {"name": "proxy", "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 15001}]}
    before = {"name": "migrate", "ports": [{"containerPort": 7}]}  # it has ended when the pod is ready
    spec = {"containers": [CONTAINER], "initContainers": [before, {**sidecar, "restartPolicy": "Always"}]}
    ports = (Port(8080, "http"), Port(9090, ""), Port(15001, ""))
    (workload,) = read_targets("deployment", listing(named("web", {"template": {"spec": spec}})))
    assert workload == Listed(Target("deployment", "web"), ports)
    done, over = ({"phase": phase} for phase in ("Running", "Succeeded"))
    found = read_targets(
        "pod", listing(named("web-2", status=done), named("web-1", spec, status=done), named("job", status=over))
    )
    assert found == [Listed(Target("pod", "web-1"), ports), Listed(Target("pod", "web-2"), ())]
    assert read_ports("pod", json.dumps(named("web-1", spec)).encode()) == ports


def test_what_can_not_be_read_is_left_out() -> None:
    evil = named("x; rm -rf ~")
    port = {"selector": {"a": "b"}, "ports": [{"name": "$(reboot)", "port": 80}]}
    assert read_names(listing(named("dev"), evil, 7, named("data"))) == ["data", "dev"]
    assert read_targets("service", listing(evil, named("web", port), named("db", {"ports": 1}))) == [
        Listed(Target("service", "web"), (Port(80, ""),))
    ]
    for data in (b"<html>", b"[]", b'{"items": 1}'):
        with pytest.raises(Malformed):
            read_names(data)
        with pytest.raises(Malformed):
            read_targets("pod", data)
