"""kubectl's command lines, and the environment they run in."""

from __future__ import annotations

from collections.abc import Mapping

from kpf_supervise.model import Cluster

OLDEST = (1, 20)
WEDGE_FREE = (1, 32)  # in older ones, a client that aborts a large download can hang kubectl for good


def command(binary: str, cluster: Cluster, *words: str) -> list[str]:
    """A kubectl command line for this cluster."""
    options = []
    if cluster.kubeconfig is not None:
        options.append(f"--kubeconfig={cluster.kubeconfig}")
    if cluster.context is not None:
        options.append(f"--context={cluster.context}")
    return [binary, *options, *words]


def port_forward(
    binary: str, cluster: Cluster, namespace: str, what: str, remote: int | str, tell_requests: bool = False
) -> list[str]:
    """The command of a child. It listens on an ephemeral port of 127.0.0.1: we listen on the port that users see. With
    `tell_requests`, it writes the URL of each request, and so the pod that it has chosen (no header, no body)."""
    options = [f"--namespace={namespace}", *(["-v=6"] if tell_requests else [])]
    return command(binary, cluster, *options, "port-forward", "--address=127.0.0.1", what, f":{remote}")


# Measured on two cores: with these, one stream through kubectl 1.33 and our relay has 1.01 times the throughput of
# kubectl alone, without them 0.89 times; eight streams 0.94 and 0.89 times. GOMAXPROCS leaves a core to the relay, also
# with kubectl 1.20 and 1.27. GOGC=50 saves memory: an idle kubectl 1.33 has 15.3 MiB (1.20: 13.8), with Go's default of
# 100 it has 17.7 (16.5). The default was a few percent faster, which is within the spread; 25 was slower.
_GO_ON = {"GOMAXPROCS": "1", "GOGC": "50"}


# A kubectl that answers one request ends before there is much garbage to collect: it needs 33 ms of CPU time instead of
# 41 (1.33), 34 instead of 46 (1.20).
_GO_AND_END = {"GOGC": "400"}


def to_go_on(base: Mapping[str, str], protocol: str = "auto") -> dict[str, str]:
    """The environment of a long-running kubectl. The user's own variables win. kubectl 1.31 and later use WebSocket
    unless the variable says otherwise."""
    if protocol == "auto":
        return _GO_ON | dict(base)
    return _GO_ON | dict(base) | {"KUBECTL_PORT_FORWARD_WEBSOCKETS": "true" if protocol == "websocket" else "false"}


def to_answer(base: Mapping[str, str]) -> dict[str, str]:
    """The environment of a kubectl that answers one request and ends. The user's own variables win."""
    return _GO_AND_END | dict(base)
