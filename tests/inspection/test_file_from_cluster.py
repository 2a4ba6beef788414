"""The file of --init: names, local ports, what is left out, and that our own loader takes it. No cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kpf_supervise.config.contents import Config
from kpf_supervise.inspection import file_from_cluster
from kpf_supervise.inspection.file_from_cluster import Offer, Place, file_of, local_ports, read_offer
from kpf_supervise.loading.loader import parse
from kpf_supervise.sandbox import objects
from kpf_supervise.watching.listing import Workload, read_workload

SHOP = Place("kind-dev", "shop")
HTTP = {"name": "http", "port": 80, "targetPort": "http"}


def offer(name: str, *ports: dict[str, Any], selector: dict[str, str] | None = None, **spec: Any) -> Offer:
    labels = {"app": name} if selector is None else selector
    return read_offer(json.dumps(objects.service(name, "shop", list(ports), labels or None, **spec)).encode())


def workload(kind: str, name: str, **ports: int) -> Workload:
    made = objects.workload(kind, name, "shop", objects.template({"app": name}, ports))
    return read_workload(kind.lower(), json.dumps(made).encode())


def made(*offers: Offer, workloads: tuple[Workload, ...] = (), taken: tuple[int, ...] = ()) -> tuple[str, Config]:
    found = file_of(offers, workloads, SHOP, lambda port: port in taken)
    assert not found.problem
    return found.text, parse(found.text, "kpf.yaml")


def ports(config: Config) -> dict[str, tuple[int | None, int | str]]:
    return {each.id: (each.local, each.remote) for each in config.forwards}


def test_a_whole_file() -> None:
    dns = offer("dns", {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53})
    external = offer("mail", HTTP, selector={}, type="ExternalName", externalName="mail.example.com")
    text, config = made(
        offer("web", HTTP, {"port": 9090}), dns, external, offer("legacy", HTTP, selector={}),
        workloads=(workload("Deployment", "web", http=8080), workload("Deployment", "worker", metrics=9090)),
    )  # fmt: skip
    assert (
        text
        == """\
# The services of namespace shop of context kind-dev, found by kpf-supervise --init.
# ports: [LOCAL:REMOTE], where REMOTE is the service's port or its name. Change LOCAL as you like.
# lazy: kubectl starts with the first connection. kpf-supervise --schema prints all options.
# To follow services that come and go, write services: [{namespace: shop}] instead of forwards.
# service/legacy: left out: without a selector, so without pods: connect to its endpoints, or forward to a pod
# service/mail: left out: of type ExternalName: connect to mail.example.com itself
context: kind-dev
namespace: shop
defaults:
  lazy: true
forwards:
  dns:
    target: service/dns
    ports: "8053:dns-tcp"
    # service/dns: left out: port 53, UDP: kubectl forwards TCP only
  web:
    target: service/web
    ports: ["8080:http", "9090:9090"]
  # deployment/worker: left out: no service leads to it. To forward to it, remove the # from these lines
  # worker:
  #   target: deployment/worker
  #   ports: "9091:metrics"
"""
    )
    assert ports(config) == {"dns": (8053, "dns-tcp"), "web/http": (8080, "http"), "web/9090": (9090, 9090)}
    assert all(each.lazy and each.namespace == "shop" for each in config.forwards)
    whole = parse(text.replace("  # worker", "  worker").replace("  #   ", "    "), "kpf.yaml")
    assert ports(whole)["worker"] == (9091, "metrics")


def test_the_same_number_goes_to_whoever_has_it_and_no_two_get_one() -> None:
    wanted = [("a", 80), ("b", 8080), ("c", 8080), ("d", 443), ("e", 22), ("f", 65535), ("g", 65535)]
    found = local_ports(wanted, lambda port: port == 8443)
    by_name = {name: local for (name, _), local in found.items()}
    assert by_name == {"b": 8080, "f": 65535, "a": 8081, "c": 8082, "d": 8444, "e": 8022, "g": None}


def test_no_local_port_that_another_program_has() -> None:
    _, config = made(offer("web", HTTP, {"name": "echo", "port": 9090}), taken=(8080, 8081, 9090))
    assert ports(config) == {"web/http": (8082, "http"), "web/echo": (9091, "echo")}


def test_any_free_one_where_no_number_is_left() -> None:
    _, config = made(offer("web", {"port": 65535}), taken=(65535,))
    assert ports(config) == {"web": (None, 65535)}


@pytest.mark.parametrize("name", ["80", "8080"])
def test_a_port_whose_name_is_a_number_is_named_by_its_number(name: str) -> None:
    _, config = made(offer("web", {"name": name, "port": 9000}))
    assert ports(config) == {"web": (9000, 9000)}


def test_names_that_yaml_or_our_file_would_read_otherwise() -> None:
    names = ("null", "true", "on", "x" * 63)
    text, config = made(*(offer(name, {"name": "on", "port": 80}) for name in names))
    assert sorted(each.target.name for each in config.forwards) == sorted(names), text
    assert len(ports(config)) == 4


def test_a_headless_service_whose_ports_kubectl_does_not_map() -> None:
    """kubectl leads to port 80 of its pods, whatever its targetPort is."""
    mapped = offer("db", {"name": "sql", "port": 5432, "targetPort": "sql"}, clusterIP="None")
    other = offer("api", HTTP, {"name": "echo", "port": 9090}, clusterIP="None", selector={"app": "api", "tier": "b"})
    text, config = made(mapped, other, workloads=(workload("StatefulSet", "db", sql=5432),))
    targets = {each.id: (str(each.target), each.remote) for each in config.forwards}
    assert targets == {
        "api/http": ("app=api,tier=b", "http"),
        "api/9090": ("app=api,tier=b", 9090),
        "db": ("service/db", "sql"),
    }
    assert "# service/api: left out: the service, which is headless: kubectl does not map its ports" in text


@pytest.mark.parametrize(
    ("offers", "said"),
    [
        ((), "namespace shop has no service. kubectl get services"),
        (
            (offer("mail", HTTP, selector={}),),
            "namespace shop has no service that can be forwarded: service/mail: left",
        ),
        (
            (offer("dns", {"port": 53, "protocol": "UDP"}),),
            "service/dns: left out: UDP only: kubectl forwards TCP only",
        ),
    ],
    ids=["none", "without-selector", "udp"],
)
def test_nothing_that_would_make_a_file(offers: tuple[Offer, ...], said: str) -> None:
    found = file_of(offers, (), SHOP, lambda _: False)
    assert found.text == ""
    assert said in found.problem


def test_more_than_our_file_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_from_cluster, "LARGEST", 500)
    found = file_of([offer(f"web-{number}", HTTP) for number in range(9)], (), SHOP, lambda _: False)
    assert found.text == ""
    assert found.problem.endswith("Write this into a file instead: services: [{namespace: shop}]")


def test_what_is_not_known_is_not_written(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "a file with blanks"
    kubeconfig.touch()
    place = Place("", "shop", str(kubeconfig))
    text = file_of([offer("web", HTTP)], (), place, lambda _: False).text
    assert "context:" not in text
    assert f'kubeconfig: "{kubeconfig}"' in text
    assert text.startswith("# The services of namespace shop, found")


def test_a_hostile_name_stays_one_comment() -> None:
    """An ExternalName is free text."""
    text, _ = made(
        offer("web", HTTP), offer("x", HTTP, selector={}, type="ExternalName", externalName="a\nevil: \x1b[2J")
    )
    assert "\nevil" not in text
    assert "\x1b" not in text
