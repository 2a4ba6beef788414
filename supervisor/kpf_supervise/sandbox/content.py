"""The content of a new sandbox cluster."""

from __future__ import annotations

from typing import Any

from kpf_supervise.sandbox import objects, pod_status
from kpf_supervise.sandbox.store import Object, Store

NAMESPACE = "dev"  # in the kubeconfig
NAMESPACES = ("data", "default", "dev", "kube-system")
WEB = {"http": 8080, "echo": 9090}
DB = {"db": 5432, "http": 8080}


def _node() -> Object:
    meta = objects.metadata(objects.NODE, labels={"kubernetes.io/hostname": objects.NODE})
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    status = {"conditions": [ready], "addresses": [{"type": "InternalIP", "address": objects.NODE_IP}]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": {}, "status": status}


def _services() -> list[Object]:
    http = {"name": "http", "port": 80, "targetPort": "http"}
    echo = {"name": "echo", "port": 9090, "targetPort": "echo"}
    db = {"name": "db", "port": 5432, "targetPort": "db"}
    extname = {"type": "ExternalName", "externalName": "example.invalid"}
    return [
        objects.service("web", NAMESPACE, [http, echo], {"app": "web"}, clusterIP="10.96.0.10"),
        objects.service("db", NAMESPACE, [db, {**http, "port": 8080}], {"app": "db"}, clusterIP="None"),
        objects.service("search", NAMESPACE, [{**http, "port": 9200}], {"app": "search"}, clusterIP="10.96.0.11"),
        objects.service("noselector", NAMESPACE, [http], None, clusterIP="10.96.0.12"),
        objects.service("extname", NAMESPACE, [http], None, **extname),
        objects.service("noendpoints", NAMESPACE, [http], {"app": "nosuch"}, clusterIP="10.96.0.13"),
    ]


def fill(store: Store) -> None:
    """Add the default content. The controllers and the kubelet create the pods."""
    store.add("nodes", _node())
    for name in NAMESPACES:
        store.add("namespaces", objects.namespace(name))
    web = objects.template({"app": "web"}, WEB)
    store.add("deployments", objects.workload("Deployment", "web", NAMESPACE, web, replicas=2))
    search = objects.template({"app": "search", "tier": "backend"}, {"http": 9200})
    store.add("deployments", objects.workload("Deployment", "search", NAMESPACE, search))
    db = objects.template({"app": "db"}, DB)
    store.add("statefulsets", objects.workload("StatefulSet", "db", NAMESPACE, db, serviceName="db"))
    for service in _services():
        store.add("services", service)
    pending = objects.template({"app": "pending"}, {"http": 8080}, image=f"{objects.UNPULLABLE}app:1")
    store.add("pods", objects.pod(pending, "pending", NAMESPACE))


def _managed(value: object) -> Object:
    """The `fieldsV1` of managedFields, which are half of a pod as a real API server sends it."""
    if isinstance(value, list):
        return {f"k:{number}": {".": {}, **_managed(inner)} for number, inner in enumerate(value)}
    return {f"f:{key}": _managed(inner) for key, inner in value.items()} if isinstance(value, dict) else {}


def add_service(store: Store, name: str, *ports: Object, namespace: str, app: str | None, **spec: Any) -> None:
    """The ports are http's unless others are given."""
    wanted = ports or ({"name": "http", "port": 80, "targetPort": "http"},)
    address = f"10.98.{store.version // 250 % 250}.{store.version % 250 + 1}"
    selector = {"app": app} if app else None
    store.add("services", objects.service(name, namespace, wanted, selector, **{"clusterIP": address, **spec}))


def more_services(store: Store, count: int) -> None:
    """Add the services web-0, web-1 and so on. Each selects the same pods as the service web."""
    web = store.get("services", NAMESPACE, "web")["spec"]
    for number in range(count):
        address = f"10.97.{number // 250}.{number % 250 + 1}"
        service = objects.service(f"web-{number}", NAMESPACE, web["ports"], web["selector"], clusterIP=address)
        store.add("services", service)


def crowd(store: Store, count: int) -> list[str]:
    """Add `count` running, ready pods of another node, with no process behind them. Returns their names.

    They have no controller and must be deleted by force. Each is 4 KB of JSON, like a real pod.
    """
    names = [f"crowd-{number:04}" for number in range(count)]
    managed: list[Object] = []  # shared by all pods
    for number, name in enumerate(names):
        template = objects.template({"app": f"crowd-{number % 50}"}, WEB)
        template["spec"]["containers"][0]["env"] = [{"name": f"VARIABLE_{n}", "value": 20 * "v"} for n in range(9)]
        pod = objects.pod(template, name, NAMESPACE)
        pod_status.scheduled(pod)
        pod["spec"]["nodeName"] = "elsewhere"
        pod_status.creating(pod)
        pod_status.running(pod, f"containerd://{number:064}", f"10.245.{number // 250}.{number % 250 + 1}")
        pod_status.ready(pod)
        managed = managed or [{"manager": "kubelet", "fieldsType": "FieldsV1", "fieldsV1": _managed(pod)}]
        pod["metadata"]["managedFields"] = managed
        store.add("pods", pod)
    return names
