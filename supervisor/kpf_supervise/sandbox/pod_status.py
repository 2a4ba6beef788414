"""The status of a pod at each step of its life, as changes to a pod object for `Store.update`.

Order and content match recorded watch events (kubelet 1.36: a rollout, a crash, a readiness flap).
"""

from __future__ import annotations

from typing import Any

from kpf_supervise.sandbox.objects import NODE, NODE_IP, timestamp
from kpf_supervise.sandbox.store import Object

NOT_READY = ("ContainersNotReady", "containers with unready status: [app]")
COMPLETED = ("PodCompleted", "")
CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def is_terminating(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _set(pod: Object, type: str, holds: bool, why: tuple[str, str] | None = None) -> None:
    conditions = {c["type"]: c for c in pod["status"].get("conditions", ())}
    old = conditions.get(type)
    new = {"type": type, "status": "True" if holds else "False", "lastProbeTime": None}
    new["lastTransitionTime"] = old["lastTransitionTime"] if old and old["status"] == new["status"] else timestamp()
    if why:
        new |= {key: text for key, text in zip(("reason", "message"), why, strict=True) if text}
    conditions[type] = new
    pod["status"]["conditions"] = [conditions[name] for name in CONDITIONS if name in conditions]


def _container(pod: Object, **changes: Any) -> None:
    spec = pod["spec"]["containers"][0]
    blank = {"name": spec["name"], "state": {}, "lastState": {}, "ready": False, "restartCount": 0, "started": False}
    blank |= {"image": spec["image"], "imageID": "", "containerID": ""}
    old = (pod["status"].get("containerStatuses") or [blank])[0]
    pod["status"]["containerStatuses"] = [old | changes]


def scheduled(pod: Object) -> None:
    pod["spec"]["nodeName"] = NODE
    _set(pod, "PodScheduled", True)


def creating(pod: Object, reason: str = "ContainerCreating", message: str = "") -> None:
    """The kubelet has the pod, but its container isn't there yet (or its image can't be pulled)."""
    pod["status"] |= {"hostIP": NODE_IP, "startTime": timestamp()}
    _set(pod, "PodReadyToStartContainers", False)
    _set(pod, "Initialized", True)
    _set(pod, "Ready", False, NOT_READY)
    _set(pod, "ContainersReady", False, NOT_READY)
    _container(pod, state={"waiting": {"reason": reason} | ({"message": message} if message else {})})


def running(pod: Object, container_id: str, ip: str) -> None:
    """The process runs. `ready` reports readiness."""
    pod["status"] |= {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}
    _set(pod, "PodReadyToStartContainers", True)
    state = {"running": {"startedAt": timestamp()}}
    _container(pod, state=state, started=True, containerID=container_id, imageID="sha256:" + 64 * "0")


def ready(pod: Object, yes: bool = True) -> None:
    _set(pod, "Ready", yes, None if yes else NOT_READY)
    _set(pod, "ContainersReady", yes, None if yes else NOT_READY)
    _container(pod, ready=yes)


def _ended(pod: Object, exit_code: int) -> Object:
    status = pod["status"]["containerStatuses"][0]
    started = status["state"].get("running", {}).get("startedAt", timestamp())
    reason = "Error" if exit_code else "Completed"
    times = {"startedAt": started, "finishedAt": timestamp(), "containerID": status["containerID"]}
    return {"terminated": {"exitCode": exit_code, "reason": reason, **times}}


def crashed(pod: Object, exit_code: int) -> None:
    """The process exited by itself and will be restarted."""
    _container(pod, state=_ended(pod, exit_code), started=False)
    ready(pod, False)


def restarted(pod: Object, container_id: str, ip: str) -> None:
    """A new process in the same pod."""
    status = pod["status"]["containerStatuses"][0]
    _container(pod, lastState=status["state"], restartCount=status["restartCount"] + 1)
    running(pod, container_id, ip)
    ready(pod)


def terminating(pod: Object, grace: int) -> None:
    """DELETE was requested: deletionTimestamp lies in the *future*, and nothing else changes."""
    pod["metadata"] |= {"deletionTimestamp": timestamp(grace), "deletionGracePeriodSeconds": grace}


def stopped(pod: Object, exit_code: int) -> None:
    """All processes of a terminating pod have ended."""
    pod["status"]["phase"] = "Failed" if exit_code else "Succeeded"
    why = ("PodFailed", "") if exit_code else COMPLETED
    _set(pod, "PodReadyToStartContainers", False)
    _set(pod, "Initialized", True, why)
    _set(pod, "Ready", False, why)
    _set(pod, "ContainersReady", False, why)
    _container(pod, state=_ended(pod, exit_code), ready=False, started=False)


def finalized(pod: Object) -> None:
    """The last change before DELETED."""
    pod["metadata"] |= {"deletionTimestamp": timestamp(), "deletionGracePeriodSeconds": 0}
