"""What we say to kubectl: command lines, and the environment in which they run."""

from __future__ import annotations

from collections.abc import Mapping

from kpf_supervise.model import Cluster

OLDEST = (1, 20)
WEDGE_FREE = (1, 32)  # before it, one client that aborts a large download can stop a kubectl for good


def command(binary: str, cluster: Cluster, *words: str) -> list[str]:
    """A kubectl command line for this cluster."""
    options = []
    if cluster.kubeconfig is not None:
        options.append(f"--kubeconfig={cluster.kubeconfig}")
    if cluster.context is not None:
        options.append(f"--context={cluster.context}")
    return [binary, *options, *words]


def port_forward(binary: str, cluster: Cluster, namespace: str, what: str, remote: int | str) -> list[str]:
    """One child: always an ephemeral port of 127.0.0.1, since the local port that users see is ours."""
    return command(
        binary, cluster, f"--namespace={namespace}", "port-forward", "--address=127.0.0.1", what, f":{remote}"
    )


# One stream through kubectl 1.33 beside our relay, on two cores, 25 rounds: 1.01 of raw kubectl's with these, 0.89
# without; eight streams 0.94 and 0.89. GOMAXPROCS leaves the relay a core, for 1.20 and 1.27 too. Of GOGC, 50 moves as
# much as raw kubectl in less memory: 15.3 MiB of an idle 1.33 (13.8 of 1.20), against 17.7 (16.5) with Go's own 100,
# which was some percent faster, within the spread; 25 was slower.
_GO_ON = {"GOMAXPROCS": "1", "GOGC": "50"}


# One that only answers a question ends before there is much to collect: 33 ms of CPU time instead of 41 (1.33), 34
# instead of 46 (1.20), medians of 25.
_GO_AND_END = {"GOGC": "400"}


def to_go_on(base: Mapping[str, str], protocol: str = "auto") -> dict[str, str]:
    """The environment of one that goes on; what the user has set himself wins. kubectl 1.31 and later choose WebSocket
    unless the variable says otherwise."""
    if protocol == "auto":
        return _GO_ON | dict(base)
    return _GO_ON | dict(base) | {"KUBECTL_PORT_FORWARD_WEBSOCKETS": "true" if protocol == "websocket" else "false"}


def to_answer(base: Mapping[str, str]) -> dict[str, str]:
    """The environment of one that answers a question, and ends; what the user has set himself wins."""
    return _GO_AND_END | dict(base)
