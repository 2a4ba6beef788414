"""Whatever JSON, or text, a server puts in the place of what it was asked for: it is refused where it enters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from kpf_supervise.discovery.choice import choose, destination, remote_port
from kpf_supervise.kubectl.answers import KubeConfig, Malformed, VersionInfo, decode
from kpf_supervise.kubectl.contexts import resolve
from kpf_supervise.model import TARGET_KINDS, Cluster, ForwardError, Target
from kpf_supervise.watching.api_objects import Named, ObjectList
from kpf_supervise.watching.listing import read_names, read_ports, read_targets
from kpf_supervise.watching.objects import Expired
from kpf_supervise.watching.pods import Pod, PodSet, read_pod
from tests.anything import EXAMPLES, RANDOM, json_value, made, some_bytes, spoilt

pytestmark = RANDOM

POD: dict[str, Any] = {
    "metadata": {"name": "web-1", "uid": "u", "labels": {"app": "web"}, "resourceVersion": "7"},
    "spec": {"containers": [{"name": "web", "ports": [{"name": "http", "containerPort": 8080}]}]},
    "status": {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "web", "restartCount": 0, "state": {"waiting": {"reason": "x"}}}],
    },
}
SERVICE: dict[str, Any] = {"spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}}
WORKLOAD: dict[str, Any] = {"spec": {"selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}}
EVENT: dict[str, Any] = {"type": "ADDED", "object": POD}
VIEW: dict[str, Any] = {
    "current-context": "dev",
    "contexts": [{"name": "dev", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
    "clusters": [{"name": "c", "cluster": {"server": "https://api:6443", "proxy-url": "http://proxy:1"}}],
}


def keys_of(value: Any) -> set[str]:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set(value if isinstance(value, dict) else ()).union(*map(keys_of, parts))


# keys and values that the objects really have, so that much of what is made up is almost right
WORDS = sorted(keys_of([POD, SERVICE, WORKLOAD, EVENT, VIEW]) | {"initContainers", "protocol", "ownerReferences"})
VALUES = ["Ready", "True", "Running", "UDP", "Always", "BOOKMARK", "ERROR", "None", "ExternalName", "\ud800", "web-1"]
TEXTS = [*VALUES, "https://[fd00::1:6443"]


def bytes_of(right: Any) -> st.SearchStrategy[bytes]:
    """JSON that is almost `right`, any other JSON, or no JSON."""

    def make(random: Random) -> bytes:
        match random.randrange(10):
            case 0:
                return some_bytes(random)
            case 1 | 2:
                return json.dumps(json_value(random, WORDS, TEXTS)).encode()
        return json.dumps(spoilt(random, right, WORDS, TEXTS)).encode()

    return made(make)


OTHERS = st.tuples(st.sampled_from(TARGET_KINDS), bytes_of(WORKLOAD) | bytes_of(SERVICE))


def service_to(port: int) -> bytes:
    return json.dumps({"spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": port}]}}).encode()


def view_of(server: str = "https://api:6443", namespace: str = "shop") -> bytes:
    context = {"name": "dev", "context": {"cluster": "c", "namespace": namespace}}
    return json.dumps(
        VIEW | {"contexts": [context], "clusters": [{"name": "c", "cluster": {"server": server}}]}
    ).encode()


def check(use: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """Nothing but what its callers expect comes out of `use`."""

    def checked(data: bytes) -> None:
        with suppress(Malformed, ForwardError, Expired):
            use(data)

    return checked


def usable(read: Pod) -> None:
    """What is made of a pod works with it."""
    json.dumps([read.name, read.trouble, dict(read.ports)], ensure_ascii=False).encode()
    assert re.fullmatch("[a-z0-9][a-z0-9.-]*", read.name), "it goes into kubectl's command line"
    choice = choose(destination(Target("selector", "app=web"), None), PodSet([read]))
    assert choice.pod is None or choice.pod is read


@settings(max_examples=EXAMPLES, deadline=None)
@given(bytes_of(POD))
@example(b'{"metadata": {"name": "--as=root", "uid": "u"}}')
def test_in_the_place_of_a_pod(data: bytes) -> None:
    check(lambda data: usable(read_pod(data)))(data)


@settings(max_examples=EXAMPLES, deadline=None)
@given(bytes_of(EVENT), st.lists(bytes_of(EVENT), max_size=3))
def test_in_the_place_of_a_watch_event(data: bytes, others: list[bytes]) -> None:
    pods = PodSet()
    for line in (json.dumps(EVENT).encode(), data, *others):
        check(pods.apply)(line)
    for pod in pods:
        usable(pod)


@settings(max_examples=EXAMPLES, deadline=None)
@given(bytes_of({"metadata": {"resourceVersion": "7", "continue": "x"}, "items": [POD]}))
def test_in_the_place_of_a_list(data: bytes) -> None:
    def read(data: bytes) -> None:
        for item in decode(data, ObjectList).items or ():
            check(read_pod)(bytes(item))
            check(lambda item: decode(item, Named))(bytes(item))

    check(read)(data)


LISTED = {"service": SERVICE | {"metadata": {"name": "web"}}, "pod": POD, "deployment": {"spec": {"template": POD}}}


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.sampled_from(sorted(LISTED)).flatmap(lambda kind: st.tuples(st.just(kind), bytes_of({"items": [LISTED[kind]]})))
)
@example(("pod", b'{"items": [{"metadata": {"name": "-x"}}]}'))
@example(
    ("service", b'{"items": [{"metadata": {"name": "a"}, "spec": {"selector": {"a": 1}, "ports": [{"port": 0}]}}]}')
)
def test_in_the_place_of_a_list_to_choose_from(listing: tuple[str, bytes]) -> None:
    kind, data = listing

    def read(data: bytes) -> None:
        for name in read_names(data):
            assert re.fullmatch("[a-z0-9][a-z0-9.-]*", name), "it goes into a shell"
        for found in read_targets(kind, data):
            assert re.fullmatch("[a-z0-9][a-z0-9.-]*", found.target.name), "it goes into a shell"
            for port in found.ports:
                assert 1 <= port.number <= 65535
                assert re.fullmatch("[a-z0-9-]*", port.name)

    check(read)(data)
    check(lambda data: read_ports(kind, data))(data)


@settings(max_examples=EXAMPLES, deadline=None)
@given(bytes_of(SERVICE).map(lambda data: ("service", data)) | OTHERS, st.sampled_from([80, "http"]))
@example(("service", service_to(65536)), 80)
@example(("service", service_to(-1)), 80)
@example(("deployment", b'{"spec": {"selector": {}}}'), 80)
def test_in_the_place_of_a_target(target: tuple[str, bytes], remote: int | str) -> None:
    kind, data = target

    def read(data: bytes) -> None:
        where = destination(Target(kind, "web"), data)
        pod = read_pod(json.dumps(POD).encode())
        choose(where, PodSet([pod]))
        assert 1 <= remote_port(where, pod, remote) <= 65535

    check(read)(data)


@settings(max_examples=EXAMPLES, deadline=None)
@given(bytes_of(VIEW), st.sampled_from([None, "dev"]), st.sampled_from([{}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}]))
@example(view_of(server="https://[fd00::1:6443"), None, {})
@example(view_of(namespace="../../../version?"), None, {})
def test_in_the_place_of_a_kubeconfig(data: bytes, context: str | None, environment: dict[str, str]) -> None:
    def read(data: bytes) -> None:
        namespace = resolve(Cluster(context=context), decode(data, KubeConfig), environment)[1]
        assert re.fullmatch("[a-z0-9-]+", namespace), "it goes into the API's paths"

    check(read)(data)
    check(lambda data: decode(data, VersionInfo))(data)


def test_what_is_right_is_read() -> None:
    """The examples that are spoilt above are no refusals of themselves."""
    pod = read_pod(json.dumps(POD).encode())
    assert pod.usable
    for kind, item in (("service", SERVICE), ("deployment", WORKLOAD)):
        assert choose(destination(Target(kind, "web"), json.dumps(item).encode()), PodSet([pod])).pod == pod
    resolved = resolve(Cluster(), decode(json.dumps(VIEW).encode(), KubeConfig), {})
    assert (resolved.cluster.context, resolved.cluster.proxy, resolved.namespace) == ("dev", "proxy:1", "shop")
    assert resolved.access == (None, "c", "u")
