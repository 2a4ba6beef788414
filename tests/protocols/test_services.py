"""From a name to what is forwarded, by the service that the API server sends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kpf_supervise.kubectl.answers import Malformed
from kpf_supervise.model import Target
from kpf_supervise.protocols.names import Name
from kpf_supervise.protocols.refusal import Refused, Why
from kpf_supervise.protocols.services import find_pod, is_pod_of, read_service, to_pod, to_service

HTTP, METRICS = {"name": "http", "port": 8080}, {"name": "metrics", "port": 9090}
DNS = {"name": "dns", "port": 53, "protocol": "UDP"}


def service(*ports: dict[str, Any], **spec: Any) -> bytes:
    return json.dumps({"spec": {"selector": {"app": "web"}, "ports": ports, **spec}}).encode()


def led(data: bytes, port: int | str | None) -> str:
    name = Name("web", "shop", port=port)
    return to_service(name, read_service(name, data)).id


@pytest.mark.parametrize(
    ("ports", "asked", "found"),
    [
        ([HTTP, METRICS], 9090, 9090),
        ([HTTP, METRICS], "metrics", 9090),
        ([{"name": "a", "port": 80}, HTTP], None, 8080),
        ([METRICS, {"name": "web", "port": 80}], None, 80),
        ([METRICS], None, 9090),
        ([METRICS, DNS], None, 9090),
        ([{"port": 443}], 443, 443),
    ],
)
def test_the_port(ports: list[dict[str, Any]], asked: int | str | None, found: int) -> None:
    assert led(service(*ports), asked) == f"proxy/web.shop:{found}"


@pytest.mark.parametrize(
    ("data", "asked", "why", "sentence"),
    [
        (service(HTTP, METRICS), 81, Why.NO_SUCH_PORT, "web.shop has no port 81. It has: 8080 (http), 9090 (metrics)."),
        (service(METRICS, {"port": 1}), None, Why.NO_SUCH_PORT, "no port named http and no port 80: choose one"),
        (service(HTTP, DNS), 53, Why.NOT_FORWARDABLE, "port 53 of service web.shop is UDP, and only TCP can be"),
        (service(DNS), "http", Why.NO_SUCH_PORT, "It has no TCP ports at all."),
        (service(HTTP, type="ExternalName"), 80, Why.NOT_FORWARDABLE, "is of type ExternalName"),
        (service(HTTP, selector=None), 80, Why.NOT_FORWARDABLE, "has no selector"),
    ],
)
def test_what_can_t_be_forwarded_says_why(data: bytes, asked: int | str | None, why: Why, sentence: str) -> None:
    with pytest.raises(Refused) as caught:
        led(data, asked)
    assert caught.value.why is why
    assert sentence in caught.value.sentence


def pods(*specs: dict[str, Any]) -> bytes:
    items = [{"metadata": {"name": each.pop("name")}, "spec": each} for each in specs]
    return json.dumps({"items": items}).encode()


def test_a_pod_of_a_headless_service_by_its_name_or_its_hostname() -> None:
    listing = pods(
        {"name": "db-0"}, {"name": "x-1", "hostname": "db-1", "subdomain": "db"}, {"name": "y", "hostname": "z"}
    )
    name = Name("db", "data", "db-0", 5432)
    assert find_pod(name, listing) == "db-0"
    assert find_pod(Name("db", "data", "db-1", 5432), listing) == "x-1"
    for absent in ("db-2", "z"):
        with pytest.raises(Refused, match=f"service db.data has no pod {absent} now"):
            find_pod(Name("db", "data", absent, 5432), listing)
    headless = read_service(name, service(HTTP, clusterIP="None"))
    to = to_pod(name, headless, "db-0")
    assert (to.target, to.id) == (Target("pod", "db-0"), "proxy/db-0.db.data:5432"), "any port, as in the cluster"
    by_name = to_pod(Name("db", "data", "db-1"), headless, "x-1")
    assert (by_name.target, by_name.id) == (Target("pod", "x-1"), "proxy/db-1.db.data:8080")


def test_a_pod_is_of_a_service_that_selects_it() -> None:
    headless = read_service(Name("db", "data", "db-0", 5432), service(HTTP, clusterIP="None", selector={"app": "db"}))
    for labels, expected in (({"app": "db", "x": "y"}, True), ({"app": "web"}, False), ({}, False), (None, False)):
        pod = json.dumps({"metadata": {"name": "db-0", "labels": labels}}).encode()
        assert is_pod_of(headless, pod) is expected
    with pytest.raises(Malformed):
        is_pod_of(headless, b'{"metadata": {"labels": 1}}')


def test_only_pods_of_headless_services_have_names() -> None:
    with pytest.raises(Refused, match="is not headless"):
        read_service(Name("web", "shop", "web-0", 80), service(HTTP, clusterIP="10.96.0.10"))


@pytest.mark.parametrize("data", [b"", b"[]", b"<html>", b'{"spec": 1}', b'{"spec": {"ports": [{"port": 0}]}}'])
def test_what_is_no_service_is_no_bug(data: bytes) -> None:
    with pytest.raises(Malformed):
        led(data, 80)
