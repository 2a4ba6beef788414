"""Building Kubernetes objects: metadata, pods from a template, and the status of a pod at each step of its life.

The objects have the shape recorded from kubelet and API server 1.36, without `managedFields`.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from kpf_supervise.sandbox.store import Object

NODE = "sandbox"
NODE_IP = "127.0.0.1"
GRACE = 30  # seconds; terminationGracePeriodSeconds unless a template sets another
LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # the characters of generated Kubernetes names
UNPULLABLE = "registry.invalid/"  # images from there stay in ImagePullBackOff


def timestamp(after: float = 0) -> str:
    """Now plus `after` seconds, in Kubernetes' format."""
    return (datetime.now(UTC) + timedelta(seconds=after)).strftime("%Y-%m-%dT%H:%M:%SZ")


def suffix(length: int = 5) -> str:
    return "".join(random.choices(LETTERS, k=length))


def owner_of(object: Object) -> Object | None:
    """The owner reference of the controller that made the object."""
    references = object["metadata"].get("ownerReferences", ())
    return next((reference for reference in references if reference.get("controller")), None)


def metadata(name: str, namespace: str = "", labels: Mapping[str, str] | None = None, **more: Any) -> Object:
    given: Object = {"name": name, "uid": str(uuid.uuid4()), "creationTimestamp": timestamp(), **more}
    if namespace:
        given["namespace"] = namespace
    if labels:
        given["labels"] = dict(labels)
    return given


def controlled_by(owner: Object) -> list[Object]:
    """The ownerReferences for objects that `owner` creates."""
    names = {key: owner["metadata"][key] for key in ("name", "uid")}
    kind = {"apiVersion": owner["apiVersion"], "kind": owner["kind"]}
    return [{**kind, **names, "controller": True, "blockOwnerDeletion": True}]


def template(labels: Mapping[str, str], ports: Mapping[str, int], image: str = "sandbox/app:1") -> Object:
    """A pod template with one container."""
    container = {
        "name": "app",
        "image": image,
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()],
        "resources": {},
        "imagePullPolicy": "IfNotPresent",
    }
    spec = {"containers": [container], "restartPolicy": "Always", "terminationGracePeriodSeconds": GRACE}
    return {"metadata": {"labels": dict(labels)}, "spec": spec}


def workload(kind: str, name: str, namespace: str, template: Object, replicas: int = 1, **spec: Any) -> Object:
    """A Deployment, StatefulSet or DaemonSet over `template`."""
    labels = template["metadata"]["labels"]
    given = {"selector": {"matchLabels": dict(labels)}, "template": template, **spec}
    if kind != "DaemonSet":
        given["replicas"] = replicas
    meta = metadata(name, namespace, labels, generation=1)
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": given, "status": {}}


def service(
    name: str, namespace: str, ports: Sequence[Object], selector: Mapping[str, str] | None, **spec: Any
) -> Object:
    given: Object = {"type": "ClusterIP", "ports": [{"protocol": "TCP", **port} for port in ports], **spec}
    if selector:
        given["selector"] = dict(selector)
    meta = metadata(name, namespace, selector)
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": given, "status": {"loadBalancer": {}}}


def created_service(given: Object, namespace: str) -> Object:
    """A service that a user creates, with what the API server adds."""
    spec = given["spec"]
    ports = [{**port, "targetPort": port.get("targetPort") or port["port"]} for port in spec["ports"]]
    rest = {key: value for key, value in spec.items() if key not in ("ports", "selector")}
    address = f"10.99.{random.randrange(256)}.{random.randrange(1, 255)}"
    made = service(given["metadata"]["name"], namespace, ports, spec.get("selector"), **{"clusterIP": address, **rest})
    made["metadata"]["labels"] = given["metadata"].get("labels") or {}
    return made


def namespace(name: str) -> Object:
    meta = metadata(name, labels={"kubernetes.io/metadata.name": name})
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta, "status": {"phase": "Active"}}


def pod(template: Object, name: str, namespace: str, owner: Object | None = None, **labels: str) -> Object:
    """A pod as its controller creates it: Pending, with no node yet. `labels` are added to the template's."""
    more: Object = {"generation": 1}
    if owner is not None:
        more |= {"ownerReferences": controlled_by(owner), "generateName": name[: name.rindex("-") + 1]}
    if annotations := template["metadata"].get("annotations"):
        more["annotations"] = dict(annotations)
    meta = metadata(name, namespace, {**template["metadata"].get("labels", {}), **labels}, **more)
    status = {"phase": "Pending", "qosClass": "BestEffort"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"], "status": status}


def status_error(code: int, reason: str, message: str, details: Object | None = None) -> Object:
    """The Status in an error answer. kubectl prints `Error from server (REASON): MESSAGE`."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        **({"details": details} if details else {}),
        "code": code,
    }
