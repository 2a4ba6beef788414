"""What a cluster offers to forward to, from the answers of its API server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kpf_supervise.discovery import offers
from kpf_supervise.model import Cause, ForwardError, Problem

FORBIDDEN = ForwardError(Problem(Cause.FORBIDDEN, "you may not list this"))
CORE, APPS = "/api/v1/namespaces/shop", "/apis/apps/v1/namespaces/shop"
PORTS = {"containers": [{"name": "app", "ports": [{"name": "http", "containerPort": 8080}]}]}


class Api:
    """Answers each path: with items, with bytes, or with an error."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def read(self, path: str) -> bytes:
        self.asked.append(path)
        place, _, query = path.partition("?")
        answer = self.answers.get(place.rpartition("/")[2], FORBIDDEN)
        if isinstance(answer, ForwardError):
            raise answer
        if isinstance(answer, bytes):
            return answer
        more = {"continue": "a b"} if "continue" not in query and place.endswith("namespaces") else {}
        return json.dumps({"items": answer, "metadata": more}).encode()


def item(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec}


async def test_namespaces_are_listed_page_by_page() -> None:
    api = Api(namespaces=[item("shop"), item("data"), {"metadata": {"name": "not\na name"}}])
    assert await offers.namespaces(api) == ["data", "data", "shop", "shop"]  # type: ignore[arg-type]
    pages = ["/api/v1/namespaces?limit=500", "/api/v1/namespaces?limit=500&continue=a%20b"]
    assert api.asked == pages


async def test_services_workloads_and_pods_with_their_ports() -> None:
    udp = {"name": "dns", "port": 53, "protocol": "UDP"}
    api = Api(
        services=[
            item("web", ports=[{"port": 80, "name": "http", "protocol": "TCP"}, udp, {"port": 80, "name": "http"}])
        ],
        deployments=[item("web", template={"spec": PORTS})],
        statefulsets=[],
        daemonsets=[item("odd", template="none"), item("bare", template={})],
        pods=[item("web-2", **PORTS), item("web-1", containers=[{"name": "app"}])],
    )
    found = await offers.targets(api, "shop")  # type: ignore[arg-type]
    http = {"port": 8080, "name": "http"}
    assert found == [
        {"target": "service/web", "ports": [{"port": 80, "name": "http"}]},
        {"target": "deployment/web", "ports": [http]},
        {"target": "daemonset/bare", "ports": []},
        {"target": "pod/web-1", "ports": []},
        {"target": "pod/web-2", "ports": [http]},
    ]
    kinds = [f"{APPS}/{kind}" for kind in ("deployments", "statefulsets", "daemonsets")]
    assert sorted(api.asked) == sorted(f"{path}?limit=500" for path in (f"{CORE}/services", f"{CORE}/pods", *kinds))


async def test_what_the_user_may_not_list_is_left_out() -> None:
    found = await offers.targets(Api(pods=[item("web-1")]), "shop")  # type: ignore[arg-type]
    assert [each["target"] for each in found] == ["pod/web-1"]
    with pytest.raises(ForwardError, match="you may not list this"):
        await offers.targets(Api(), "shop")  # type: ignore[arg-type]


async def test_an_answer_that_is_no_listing_is_an_error() -> None:
    with pytest.raises(ForwardError):
        await offers.namespaces(Api(namespaces=b"<html>"))  # type: ignore[arg-type]


async def test_a_namespace_is_no_path() -> None:
    api = Api(pods=[])
    await offers.targets(api, "../kube-system?x")  # type: ignore[arg-type]
    assert "/api/v1/namespaces/..%2Fkube-system%3Fx/pods?limit=500" in api.asked
