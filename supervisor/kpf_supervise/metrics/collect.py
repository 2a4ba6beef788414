"""What an instance counts, as metrics. Pure.

The names follow https://prometheus.io/docs/specs/om/open_metrics_spec/: the unit comes last, a counter's sample ends
in `_total` after it. What something is about is a label and not part of the name.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from kpf_supervise import __version__
from kpf_supervise.counters import Histogram, Unserved
from kpf_supervise.discovery.sight import Left
from kpf_supervise.model import State, Status
from kpf_supervise.text import one_line

PART = 20  # forwards whose metrics are made at once: a few milliseconds, in which nothing else runs
_LEFT = [each.word for each in Left]
_LASTING = ("port-forward", "proxy")  # the kubectls that go on running


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is read at a scrape."""

    statuses: Collection[Status]
    commands: Iterable[Sequence[str]]  # of the children that run
    sign_ins: Mapping[str, int]  # by outcome
    started: float  # when the program was started, in seconds since the epoch
    commit: str = ""  # that it was built from


def families(facts: Facts, most: int = PART) -> Iterator[Metric]:
    """All metrics; those of the forwards in parts of at most so many forwards each, one after the other. A dormant
    forward is part of `kpf_forwards` only, until it is used: there may be a thousand."""
    build = {"version": __version__, "commit": facts.commit, "python": platform.python_version()}
    yield InfoMetricFamily("kpf_build", "The kpf-supervise that runs, and its Python.", value=build)
    yield GaugeMetricFamily(
        "process_start_time_seconds", "When it was started, since the epoch.", facts.started, unit="seconds"
    )
    yield _children(facts.commands)
    sign_ins = CounterMetricFamily("kpf_sign_ins", "Sign-ins with a credential plugin.", labels=["outcome"])
    for outcome in ("succeeded", "failed"):
        sign_ins.add_metric([outcome], facts.sign_ins.get(outcome, 0))
    yield sign_ins
    in_state = Counter(status.state for status in facts.statuses)
    forwards = GaugeMetricFamily("kpf_forwards", "Forwards in each state, used or not.", labels=["state"])
    for state in State:
        forwards.add_metric([state.value], in_state[state])
    yield forwards
    used = [(one_line(status.forward.id), status) for status in facts.statuses if _is_used(status)]
    for each in _OF_FORWARDS:
        for begin in range(0, max(len(used), 1), most):
            yield each.of(used[begin : begin + most])


def _is_used(status: Status) -> bool:
    """Once true, true as long as it is listed."""
    return not status.forward.dormant or status.counters.connections > 0 or status.command is not None


def _children(commands: Iterable[Sequence[str]]) -> Metric:
    found = Counter(next((word for word in words[1:] if word in _LASTING), "") for words in commands)
    family = GaugeMetricFamily("kpf_kubectl_processes", "Long-running kubectls, by command.", labels=["command"])
    for command in _LASTING:
        family.add_metric([command], found[command])
    return family


@dataclass(frozen=True, slots=True)
class _OfForwards:
    """One metric with samples of each forward: `samples` gives the values of its `labels`, and what the family's
    `add_metric` takes beside."""

    family: Callable[..., CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily | InfoMetricFamily]
    name: str
    help: str
    labels: tuple[str, ...]
    samples: Callable[[Status], Iterable[tuple[Sequence[str], *tuple[Any, ...]]]]
    unit: str = ""

    def of(self, used: Iterable[tuple[str, Status]]) -> Metric:
        unit = {"unit": self.unit} if self.unit else {}  # an info has none
        family = self.family(self.name, self.help, labels=["forward", *self.labels], **unit)
        for id, status in used:
            for labels, *values in self.samples(status):
                family.add_metric([id, *labels], *values)
        return family


def _place(status: Status) -> list[str]:
    forward = status.forward
    namespace = status.namespace or forward.namespace or ""
    context = status.context or forward.cluster.context or ""
    return list(map(one_line, (str(forward.target), str(forward.remote), namespace, context)))


def _by_word(counts: Mapping[str, int], known: Iterable[str] = ()) -> Iterable[tuple[list[str], int]]:
    """Those that are `known` from the start: a rate needs the 0 before the first one."""
    return (([word], times) for word, times in {**dict.fromkeys(known, 0), **counts}.items())


def _never_less(status: Status) -> int:
    """Bytes that have to be sent again are taken off meanwhile."""
    counters = status.counters
    counters.bytes_in = max(counters.bytes_in, status.bytes_in)
    return counters.bytes_in


def _buckets(held: Histogram) -> list[tuple[str, int]]:
    return [("+Inf" if bound == float("inf") else f"{bound:g}", count) for bound, count in held.cumulative()]


_OF_FORWARDS = (
    _OfForwards(
        InfoMetricFamily,
        "kpf_forward",
        "What a forward leads to.",
        ("target", "remote", "namespace", "context"),
        lambda status: [(_place(status), {})],
    ),
    _OfForwards(
        GaugeMetricFamily,
        "kpf_forward_state",
        "1 for the state that a forward is in, 0 for each other.",
        ("state",),
        lambda status: (([state.value], status.state is state) for state in State),
    ),
    _OfForwards(
        GaugeMetricFamily,
        "kpf_forward_served_connections",
        "Open connections that a kubectl serves.",
        (),
        lambda status: [([], status.connections)],
    ),
    _OfForwards(
        GaugeMetricFamily,
        "kpf_forward_held_connections",
        "Open connections that wait for a kubectl.",
        (),
        lambda status: [([], status.held)],
    ),
    _OfForwards(
        CounterMetricFamily,
        "kpf_forward_connections",
        "Connections that were accepted.",
        (),
        lambda status: [([], status.counters.connections)],
    ),
    _OfForwards(
        CounterMetricFamily,
        "kpf_forward_unserved_connections",
        "Connections that ended while they were held, by why.",
        ("reason",),
        lambda status: _by_word(status.counters.unserved, Unserved),
    ),
    _OfForwards(
        HistogramMetricFamily,
        "kpf_forward_held_seconds",
        "How long connections waited for a kubectl; one that has to wait again counts again.",
        (),
        lambda status: [([], _buckets(status.counters.held), status.counters.held.total)],
        unit="seconds",
    ),
    _OfForwards(
        CounterMetricFamily,
        "kpf_forward_client_to_pod_bytes",
        "Bytes from clients to pods.",
        (),
        lambda status: [([], _never_less(status))],
        unit="bytes",
    ),
    _OfForwards(
        CounterMetricFamily,
        "kpf_forward_pod_to_client_bytes",
        "Bytes from pods to clients.",
        (),
        lambda status: [([], status.bytes_out)],
        unit="bytes",
    ),
    _OfForwards(
        CounterMetricFamily,
        "kpf_forward_retargets",
        "Moves to another pod, or to one that was restarted, by why the last one was left.",
        ("cause",),
        lambda status: _by_word(status.counters.moves, _LEFT),
    ),
    _OfForwards(
        CounterMetricFamily,
        "kpf_forward_restarts",
        "kubectls that stopped serving, by why: lost, or replaced.",
        ("cause",),
        lambda status: _by_word(status.counters.losses),
    ),
)
