"""From the services of namespaces to their forwards: no cluster is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from kpf_supervise.config.contents import ServiceGroup
from kpf_supervise.model import TEMPLATE, Cluster
from kpf_supervise.sources.namespaces import Addresses, Known, forwards_of
from kpf_supervise.watching.objects import Change, ObjectSet
from kpf_supervise.watching.services import SERVICES, Service, ServicePort, read_service

HTTP = ServicePort(80, "http", "TCP")
GROUP = ServiceGroup(template=TEMPLATE)


def service(name: str, *ports: ServicePort, **more: Any) -> Service:
    facts: dict[str, Any] = {"uid": name, "labels": {}, "selects": True, "external": ""}
    return Service(name=name, ports=ports or (HTTP,), **facts | more)


def locals_of(group: ServiceGroup, services: Sequence[Service], addresses: Addresses | None = None) -> dict[str, Any]:
    found = forwards_of([Known(group, "shop", services)], addresses or Addresses())
    return {each.id: (each.address, each.local or each.prefers) for each in found.forwards}


def test_each_tcp_port_of_each_service_that_leads_to_pods_is_a_forward_and_the_rest_is_named_with_what_would_do() -> (
    None
):
    services = [
        service("web", HTTP, ServicePort(9090, "", "TCP")),
        service("dns", ServicePort(53, "dns", "UDP"), ServicePort(53, "dns-tcp", "TCP"), ServicePort(7, "x", "SCTP")),
        service("shop", external="example.org"),
        service("legacy", selects=False),
        service("none", *[HTTP][:0]),
    ]
    found = forwards_of([Known(GROUP, "shop", services)], Addresses())
    assert [(each.id, str(each.target), each.remote, each.namespace) for each in found.forwards] == [
        ("shop/dns/dns-tcp", "service/dns", 53, "shop"),
        ("shop/none/http", "service/none", 80, "shop"),
        ("shop/web/http", "service/web", 80, "shop"),
        ("shop/web/9090", "service/web", 9090, "shop"),
    ]
    assert found.left_out == [
        "shop/dns/dns (UDP: kubectl forwards TCP only)",
        "shop/dns/x (SCTP: kubectl forwards TCP only)",
        "shop/legacy (without a selector, so without pods: connect to its endpoints, or forward to a pod)",
        "shop/shop (of type ExternalName: connect to example.org itself)",
    ]


def test_a_service_is_chosen_by_its_labels_and_left_out_by_its_name_and_the_first_group_counts() -> None:
    backend = replace(GROUP, selector="tier=backend", exclude=("*-metrics", "x?"), offset=10_000)
    services = [
        service("api", labels={"tier": "backend"}),
        service("api-metrics", labels={"tier": "backend"}),
        service("x1", labels={"tier": "backend"}),
        service("web"),
    ]
    both = [Known(backend, "shop", services), Known(replace(GROUP, exclude=("x1",)), "shop", services)]
    found = forwards_of(both, Addresses())
    assert {each.id: each.local for each in found.forwards} == {
        "shop/api/http": 10_080,
        "shop/api-metrics/http": 80,
        "shop/web/http": 80,
    }


def test_a_service_of_another_cluster_whose_name_is_taken_is_told() -> None:
    elsewhere = replace(GROUP, template=replace(TEMPLATE, cluster=Cluster(context="far")))
    found = forwards_of(
        [Known(GROUP, "shop", [service("web")]), Known(elsewhere, "shop", [service("web")])], Addresses()
    )
    assert [each.cluster for each in found.forwards] == [TEMPLATE.cluster]
    assert found.left_out == ["shop/web (context far: another context has that name; use a second file)"]


def test_a_number_above_the_last_port_is_none() -> None:
    found = forwards_of(
        [Known(replace(GROUP, offset=60_000), "shop", [service("a", ServicePort(9090, "", "TCP"))])], Addresses()
    )
    assert (found.forwards, found.left_out) == ([], ["shop/a/9090 (9090+60000 is above 65535)"])


MANY = [service(f"s{number}", HTTP, ServicePort(443, "https", "TCP")) for number in range(2000)]


@pytest.mark.parametrize(
    "group", [replace(GROUP, each_address=True), replace(GROUP, offset=None)], ids=["each", "free"]
)
def test_what_is_assigned_is_the_same_whatever_the_order_and_different_for_each(group: ServiceGroup) -> None:
    found = locals_of(group, MANY)
    assert found == locals_of(group, MANY[::-1])
    assert len(set(found.values())) == 4000
    for address, port in found.values():
        if group.each_address:
            ip = ip_address(address)
            assert ip.is_loopback
            assert ip not in map(ip_address, ("127.0.0.1", "127.0.0.53"))
            assert port in (80, 443)
        else:
            assert 20_000 <= port < 30_000
    few, some = locals_of(group, MANY[7:8]), locals_of(group, MANY[:20])
    assert few.items() <= some.items(), "others change nothing, unless two collide"


def test_an_address_that_was_given_is_kept_while_its_service_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kpf_supervise.sources.namespaces._hash", lambda _: 0)
    group, addresses = replace(GROUP, each_address=True), Addresses()
    assert locals_of(group, [service("b")], addresses) == {"shop/b/http": ("127.1.0.1", 80)}
    both = {"shop/a/http": ("127.1.0.2", 80), "shop/b/http": ("127.1.0.1", 80)}
    assert locals_of(group, [service("a"), service("b")], addresses) == both
    assert locals_of(group, [service("a")], addresses) == {"shop/a/http": ("127.1.0.2", 80)}
    assert locals_of(group, [service("b"), service("a")]) == {
        "shop/a/http": ("127.1.0.1", 80),
        "shop/b/http": ("127.1.0.2", 80),
    }


def raw(name: str = "web", **spec: Any) -> bytes:
    return json.dumps({"metadata": {"name": name, "uid": "u", "resourceVersion": "8"}, "spec": spec}).encode()


def test_a_service_object_is_read_with_what_go_leaves_out_and_without_what_nobody_should_print() -> None:
    assert read_service(raw(ports=None, selector=None)).ports == ()
    port = {"port": 80, "name": "a\x1b[2J", "protocol": "TCP\n" * 9}
    odd = read_service(raw(type="ExternalName", externalName="evil\n\x1b]0;x", ports=[port], selector={"a": "b"}))
    assert odd.ports[0].name == ""
    assert (odd.external + odd.ports[0].protocol).isprintable()
    assert not odd.selects


def test_a_service_that_changes_nothing_of_what_we_use_is_no_change() -> None:
    items = ObjectSet(SERVICES)

    def event(kind: str, text: bytes) -> bytes:
        return b'{"type": "%s", "object": %s}' % (kind.encode(), text)

    spec: dict[str, Any] = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    assert items.apply(event("ADDED", raw(**spec))).item == read_service(raw(**spec))
    assert items.apply(event("MODIFIED", raw(**spec, clusterIP="10.0.0.1"))) == Change()
    assert "ports" in items.apply(event("MODIFIED", raw(ports=7))).unreadable
    assert list(items) == []
