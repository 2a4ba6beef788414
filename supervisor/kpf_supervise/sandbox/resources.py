"""The resource types that the sandbox API serves, their paths, and the discovery documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kpf_supervise.sandbox.store import Object

VERSION = {
    "major": "1",
    "minor": "33",
    "gitVersion": "v1.33.0",
    "gitCommit": "0000000000000000000000000000000000000000",
    "gitTreeState": "clean",
    "buildDate": "2025-04-23T13:00:00Z",
    "goVersion": "go1.24.2",
    "compiler": "gc",
    "platform": "linux/amd64",
}
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]


@dataclass(frozen=True, slots=True)
class Resource:
    name: str  # plural, as in paths
    kind: str
    group: str = ""  # "" is the core group, under /api
    namespaced: bool = True
    short: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The apiVersion of its objects."""
        return f"{self.group}/v1" if self.group else "v1"

    @property
    def qualified(self) -> str:
        """The name in error messages: `pods`, `deployments.apps`."""
        return f"{self.name}.{self.group}" if self.group else self.name


RESOURCES = (
    Resource("namespaces", "Namespace", namespaced=False, short=("ns",)),
    Resource("nodes", "Node", namespaced=False, short=("no",)),
    Resource("events", "Event", short=("ev",)),
    Resource("pods", "Pod", short=("po",), subresources=("portforward",)),
    Resource("services", "Service", short=("svc",)),
    Resource("endpoints", "Endpoints", short=("ep",)),
    Resource("daemonsets", "DaemonSet", "apps", short=("ds",)),
    Resource("deployments", "Deployment", "apps", short=("deploy",), subresources=("scale",)),
    Resource("replicasets", "ReplicaSet", "apps", short=("rs",), subresources=("scale",)),
    Resource("statefulsets", "StatefulSet", "apps", short=("sts",), subresources=("scale",)),
)


REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"  # asks what the user may do; nothing is stored
_REVIEW_LIST = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": "authorization.k8s.io/v1",
    "resources": [
        {
            "name": "selfsubjectaccessreviews",
            "singularName": "selfsubjectaccessreview",
            "namespaced": False,
            "kind": "SelfSubjectAccessReview",
            "verbs": ["create"],
        }
    ],
}


@dataclass(frozen=True, slots=True)
class Location:
    """What a path names. An empty `name` means the collection, an empty `namespace` all namespaces."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def locate(path: str) -> Location | None:
    """`/api/v1/namespaces/dev/pods/web-1/portforward` → Location, or None for an unknown path."""
    match path.strip("/").split("/"):
        case ["api", "v1", *parts]:
            group = ""
        case ["apis", group, "v1", *parts]:
            pass
        case _:
            return None
    namespace = ""
    if len(parts) > 2 and parts[0] == "namespaces":
        namespace, parts = parts[1], parts[2:]
    for resource in RESOURCES:
        if parts and (resource.group, resource.name) == (group, parts[0]) and len(parts) <= 3:
            if len(parts) == 3 and parts[2] not in (*resource.subresources, "status"):
                return None
            if len(parts) > 1 and resource.namespaced and not namespace:
                return None
            return Location(resource, namespace, *parts[1:])
    return None


def _listed(resource: Resource) -> list[Object]:
    entry = {
        "name": resource.name,
        "singularName": resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": VERBS,
        "shortNames": list(resource.short),
        "categories": [] if resource.name in ("namespaces", "nodes", "events", "endpoints") else ["all"],
    }
    kinds = {
        "scale": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
        "portforward": {"kind": "PodPortForwardOptions"},
    }
    return [entry] + [
        {
            "name": f"{resource.name}/{sub}",
            "singularName": "",
            "namespaced": True,
            **kinds[sub],
            "verbs": ["create", "get", "patch", "update"],
        }
        for sub in resource.subresources
    ]


def _resource_list(group: str) -> Object:
    found = [entry for resource in RESOURCES if resource.group == group for entry in _listed(resource)]
    version = f"{group}/v1" if group else "v1"
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": found}


def documents(address: str) -> Mapping[str, Object]:
    """The fixed documents by path. `address` is HOST:PORT of the API server."""
    rights_version = {"groupVersion": "authorization.k8s.io/v1", "version": "v1"}
    rights = {"name": "authorization.k8s.io", "versions": [rights_version], "preferredVersion": rights_version}
    apps_version = {"groupVersion": "apps/v1", "version": "v1"}
    apps = {"name": "apps", "versions": [apps_version], "preferredVersion": apps_version}
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {
        "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [apps, rights]},
        "/apis/apps": {"kind": "APIGroup", "apiVersion": "v1", **apps},
        "/apis/authorization.k8s.io": {"kind": "APIGroup", "apiVersion": "v1", **rights},
        "/api/v1": _resource_list(""),
        "/apis/apps/v1": _resource_list("apps"),
        REVIEWS.rpartition("/")[0]: _REVIEW_LIST,
        "/version": VERSION,
    }
