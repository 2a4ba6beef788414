"""Deployment, ReplicaSet, StatefulSet, DaemonSet and Endpoints controllers.

Each is one synchronous step: it compares the actual with the desired state and does the next thing to close the gap.
The steps run again after every change, so nothing is remembered between them.
"""

from __future__ import annotations

import hashlib
import json
import math

import trio

from kpf_supervise.sandbox import objects, pod_status
from kpf_supervise.sandbox.selectors import matching
from kpf_supervise.sandbox.store import Object, Store
from kpf_supervise.sandbox.timing import Timing

SURGE = UNAVAILABLE = 0.25  # maxSurge (rounded up) and maxUnavailable (rounded down) of a rolling update


def template_hash(template: Object) -> str:
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(objects.LETTERS[byte % len(objects.LETTERS)] for byte in digest[:10])


def _name(object: Object) -> str:
    name: str = object["metadata"]["name"]
    return name


def _namespace(object: Object) -> str:
    namespace: str = object["metadata"]["namespace"]
    return namespace


def owned(store: Store, resource: str, owner: Object) -> list[Object]:
    """The objects that `owner` controls, oldest first."""

    def is_owned(object: Object) -> bool:
        reference = objects.owner_of(object)
        return reference is not None and reference["uid"] == owner["metadata"]["uid"]

    found = store.select(resource, _namespace(owner), is_owned)
    return sorted(found, key=lambda object: int(object["metadata"]["resourceVersion"]))


def active(pods: list[Object]) -> list[Object]:
    """The pods that count as replicas: neither terminating nor finished."""
    return [p for p in pods if not pod_status.is_terminating(p) and p["status"]["phase"] in ("Pending", "Running")]


def ready_count(pods: list[Object]) -> int:
    return sum(map(pod_status.is_ready, pods))


def delete_pod(store: Store, namespace: str, name: str, grace: int | None = None) -> Object:
    """DELETE: mark the pod, or remove it at once if `grace` (seconds) is 0 or it never got a node."""
    pod = store.get("pods", namespace, name)
    if grace is None:
        grace = int(pod["spec"].get("terminationGracePeriodSeconds", objects.GRACE))
    if grace == 0 or "nodeName" not in pod["spec"]:
        return store.remove("pods", namespace, name)
    if pod_status.is_terminating(pod):
        return pod
    return store.update("pods", namespace, name, lambda pod: pod_status.terminating(pod, grace))


def sync_replicas(store: Store, owner: Object, wanted: int, **labels: str) -> list[Object]:
    """Create or delete pods of `owner` until `wanted` are active. Returns the pods that were active before."""
    pods = active(owned(store, "pods", owner))
    for _ in range(wanted - len(pods)):
        name = f"{_name(owner)}-{objects.suffix()}"
        store.add("pods", objects.pod(owner["spec"]["template"], name, _namespace(owner), owner, **labels))
    surplus = sorted(pods, key=lambda p: (pod_status.is_ready(p), p["metadata"]["creationTimestamp"]))
    for pod in surplus[: max(0, len(pods) - wanted)]:  # unready ones first
        delete_pod(store, _namespace(pod), _name(pod))
    return pods


def write_status(store: Store, resource: str, object: Object, pods: list[Object], **more: object) -> None:
    replicas, ready = len(pods), ready_count(pods)
    status = {"replicas": replicas, "readyReplicas": ready, "availableReplicas": ready, **more}
    status["observedGeneration"] = object["metadata"]["generation"]

    def change(object: Object) -> None:
        object["status"] = status

    store.update(resource, _namespace(object), _name(object), change)


def sync_replicaset(store: Store, replicaset: Object) -> None:
    pods = sync_replicas(store, replicaset, replicaset["spec"]["replicas"])
    write_status(store, "replicasets", replicaset, pods)


def sync_daemonset(store: Store, daemonset: Object) -> None:
    pods = sync_replicas(store, daemonset, 1)
    ready = ready_count(pods)
    counts = {"desiredNumberScheduled": 1, "currentNumberScheduled": len(pods), "numberReady": ready}
    write_status(
        store, "daemonsets", daemonset, pods, **counts, updatedNumberScheduled=len(pods), numberAvailable=ready
    )


def _scale(store: Store, replicaset: Object, replicas: int) -> None:
    def change(object: Object) -> None:
        if object["spec"]["replicas"] != replicas:
            object["spec"]["replicas"] = replicas
            object["metadata"]["generation"] += 1

    store.update("replicasets", _namespace(replicaset), _name(replicaset), change)


def _replicaset_for(deployment: Object, hash: str) -> Object:
    template = json.loads(json.dumps(deployment["spec"]["template"]))
    template["metadata"]["labels"]["pod-template-hash"] = hash
    name = f"{_name(deployment)}-{hash}"
    made = objects.workload("ReplicaSet", name, _namespace(deployment), template, replicas=0)
    made["metadata"]["ownerReferences"] = objects.controlled_by(deployment)
    return made


def sync_deployment(store: Store, deployment: Object) -> None:
    """A rolling update: the new ReplicaSet grows within the surge, the old ones shrink as new pods become ready."""
    wanted: int = deployment["spec"]["replicas"]
    hash = template_hash(deployment["spec"]["template"])
    sets = owned(store, "replicasets", deployment)
    new = next((rs for rs in sets if _name(rs) == f"{_name(deployment)}-{hash}"), None)
    if new is None:
        new = store.add("replicasets", _replicaset_for(deployment, hash))
    old = [rs for rs in sets if _name(rs) != _name(new)]
    old_replicas = sum(rs["spec"]["replicas"] for rs in old)
    if old_replicas:
        room = wanted + math.ceil(wanted * SURGE) - old_replicas - new["spec"]["replicas"]
        _scale(store, new, min(wanted, new["spec"]["replicas"] + max(0, room)))
    else:
        _scale(store, new, wanted)
    pods = {_name(rs): active(owned(store, "pods", rs)) for rs in [new, *old]}
    spare = sum(map(ready_count, pods.values())) - (wanted - math.floor(wanted * UNAVAILABLE))
    for rs in old:
        unready = len(pods[_name(rs)]) - ready_count(pods[_name(rs)])
        less = min(rs["spec"]["replicas"], unready + max(0, spare))
        spare -= max(0, less - unready)
        _scale(store, rs, rs["spec"]["replicas"] - less)
    everything = [pod for some in pods.values() for pod in some]
    missing = max(0, wanted - ready_count(everything))
    more = {"updatedReplicas": len(pods[_name(new)]), "unavailableReplicas": missing}
    available = {"type": "Available", "status": "False" if missing else "True", "reason": "MinimumReplicasAvailable"}
    write_status(store, "deployments", deployment, everything, **more, conditions=[available])


def sync_statefulset(store: Store, statefulset: Object) -> None:
    """Start pods in order from NAME-0, each when the previous one is ready. Reuse a name only when its pod is gone."""
    wanted: int = statefulset["spec"]["replicas"]
    revision = f"{_name(statefulset)}-{template_hash(statefulset['spec']['template'])}"
    pods = {_name(pod): pod for pod in owned(store, "pods", statefulset)}
    for ordinal in range(wanted):
        name = f"{_name(statefulset)}-{ordinal}"
        if name not in pods:
            labels = {"apps.kubernetes.io/pod-index": str(ordinal), "statefulset.kubernetes.io/pod-name": name}
            labels["controller-revision-hash"] = revision
            new = objects.pod(statefulset["spec"]["template"], name, _namespace(statefulset), statefulset, **labels)
            new["spec"] = {**new["spec"], "hostname": name, "subdomain": statefulset["spec"].get("serviceName", "")}
            if store.find("pods", _namespace(statefulset), name) is None:
                store.add("pods", new)
            break
        if not pod_status.is_ready(pods[name]) or pod_status.is_terminating(pods[name]):
            break
    else:
        _roll_statefulset(store, pods, wanted, revision)
    current = [pod for pod in active(list(pods.values())) if _revision(pod) == revision]
    revisions = {"currentRevision": revision, "updateRevision": revision, "updatedReplicas": len(current)}
    more = {**revisions, "currentReplicas": len(current)}
    write_status(store, "statefulsets", statefulset, active(list(pods.values())), **more)


def _revision(pod: Object) -> str:
    revision: str = pod["metadata"]["labels"]["controller-revision-hash"]
    return revision


def _roll_statefulset(store: Store, pods: dict[str, Object], wanted: int, revision: str) -> None:
    """With all pods ready, delete the last surplus pod, or else the last pod of an old revision."""
    if any(pod_status.is_terminating(pod) for pod in pods.values()):
        return
    last_first = sorted(pods.values(), key=lambda pod: int(_name(pod).rpartition("-")[2]), reverse=True)
    for pod in last_first:
        if len(pods) > wanted or _revision(pod) != revision:
            delete_pod(store, _namespace(pod), _name(pod))
            return


def sync_service(store: Store, service: Object) -> None:
    """Write its Endpoints: the ready pods that it selects. kpf-supervise needs none; some other tools watch them."""
    if not service["spec"].get("selector"):
        return
    pods = [pod for pod in active(pods_of(store, service)) if pod_status.is_ready(pod)]
    addresses = [{"ip": pod["status"]["podIP"], "targetRef": {"kind": "Pod", "name": _name(pod)}} for pod in pods]
    subsets = [{"addresses": addresses}] if addresses else []
    if store.find("endpoints", _namespace(service), _name(service)) is None:
        meta = objects.metadata(_name(service), _namespace(service))
        store.add("endpoints", {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, "subsets": subsets})
    else:
        store.update("endpoints", _namespace(service), _name(service), lambda object: object.update(subsets=subsets))


STEPS = {
    "services": sync_service,
    "deployments": sync_deployment,
    "replicasets": sync_replicaset,
    "statefulsets": sync_statefulset,
    "daemonsets": sync_daemonset,
}


def reconcile(store: Store) -> None:
    """Run one step of every controller."""
    for resource, step in STEPS.items():
        for object in store.select(resource):
            step(store, object)


def settled(store: Store) -> bool:
    """Whether all wanted pods exist, ready and of the newest template, and no other pod is terminating."""
    for resource in ("deployments", "statefulsets"):
        for object in store.select(resource):
            counts = {object["status"].get(key) for key in ("replicas", "readyReplicas", "updatedReplicas")}
            fresh = object["status"].get("observedGeneration") == object["metadata"]["generation"]
            if counts != {object["spec"]["replicas"]} or not fresh:
                return False
    pods = store.select("pods")
    return not any(pod_status.is_terminating(pod) and objects.owner_of(pod) for pod in pods)


async def run(store: Store, timing: Timing) -> None:
    """Reconcile after every change relevant to a controller, until cancelled."""
    version = -1
    while True:
        await store.wait_past(version)
        await trio.sleep(timing.control)
        version, seen = store.version, version
        if store.touched(seen, lambda change: change.key[0] in STEPS or objects.owner_of(change.object) is not None):
            reconcile(store)


def pods_of(store: Store, object: Object) -> list[Object]:
    """The pods that the selector of a workload or service matches."""
    selector = object["spec"].get("selector", {})
    return store.select("pods", _namespace(object), matching(selector.get("matchLabels", selector)))
