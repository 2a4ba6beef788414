"""What is counted, as metrics: by OpenMetrics' own parser."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

from kpf_supervise.counters import HELD, Histogram
from kpf_supervise.events.board import Board
from kpf_supervise.metrics.collect import Facts, families
from kpf_supervise.model import TEMPLATE, Cause, Forward, State, Status, Target
from tests.metrics.reading import OPEN, parsed

WEB = replace(TEMPLATE, id="web/http", target=Target("service", "web"), remote="http")
Labels = dict[str, str]


def facts(*statuses: Status, commands: Iterable[list[str]] = (), sign_ins: dict[str, int] | None = None) -> Facts:
    return Facts(statuses=statuses, commands=commands, sign_ins=sign_ins or {}, started=1_700_000_000.5)


class Scrape:
    """The metrics after they were written and read again."""

    def __init__(self, told: Facts) -> None:
        registry = CollectorRegistry()
        registry.register(self)
        self._told = told
        self.families = parsed(choose_encoder(OPEN)[0](registry).decode())

    def collect(self) -> Iterable[Metric]:
        return families(self._told, sys.maxsize)

    def value(self, sample: str, **labels: str) -> float | None:
        """None: there is no such sample."""
        found = [
            each.value
            for family in self.families.values()
            for each in family.samples
            if (each.name, each.labels) == (sample, labels)
        ]
        assert len(found) < 2
        return found[0] if found else None

    @property
    def forwards(self) -> set[str]:
        """The ids that any metric names."""
        return {
            each.labels["forward"]
            for family in self.families.values()
            for each in family.samples
            if "forward" in each.labels
        }


def busy() -> Status:
    """With everything that can be counted."""
    status = Status(forward=WEB, state=State.ACTIVE, context="kind-dev", namespace="shop", connections=2, held=1)
    status.bytes_in, status.bytes_out = 10, 20_000
    counters = status.counters
    counters.connections = 5
    counters.held.observe(0.0)
    counters.held.observe(0.3)
    counters.unserved = {"hold-over": 1}
    counters.losses = {"moved": 2, Cause.LOST.value: 1}
    counters.moves = {"deleted": 1}
    return status


def test_what_is_counted_of_a_forward() -> None:
    scrape = Scrape(facts(busy()))
    of = {"forward": "web/http"}
    place = {"target": "service/web", "remote": "http", "namespace": "shop", "context": "kind-dev"}
    for sample, labels, value in (
        ("kpf_forward_info", place, 1),
        ("kpf_forward_state", {"state": "active"}, 1),
        ("kpf_forward_state", {"state": "failed"}, 0),
        ("kpf_forward_served_connections", {}, 2),
        ("kpf_forward_held_connections", {}, 1),
        ("kpf_forward_connections_total", {}, 5),
        ("kpf_forward_unserved_connections_total", {"reason": "hold-over"}, 1),
        ("kpf_forward_unserved_connections_total", {"reason": "failed"}, 0),
        ("kpf_forward_held_seconds_bucket", {"le": "0.01"}, 1),
        ("kpf_forward_held_seconds_bucket", {"le": "0.25"}, 1),
        ("kpf_forward_held_seconds_bucket", {"le": "0.5"}, 2),
        ("kpf_forward_held_seconds_bucket", {"le": "+Inf"}, 2),
        ("kpf_forward_held_seconds_count", {}, 2),
        ("kpf_forward_held_seconds_sum", {}, 0.3),
        ("kpf_forward_client_to_pod_bytes_total", {}, 10),
        ("kpf_forward_pod_to_client_bytes_total", {}, 20_000),
        ("kpf_forward_retargets_total", {"cause": "deleted"}, 1),
        ("kpf_forward_retargets_total", {"cause": "not-ready"}, 0),
        ("kpf_forward_restarts_total", {"cause": "lost-connection"}, 1),
        ("kpf_forward_restarts_total", {"cause": "moved"}, 2),
        ("kpf_forward_restarts_total", {"cause": "quiet"}, None),
    ):
        assert scrape.value(sample, **of, **labels) == value, (sample, labels)


def test_what_is_counted_of_the_instance() -> None:
    commands = [
        ["kubectl", "--context=proxy", "--namespace=dev", "port-forward", "--address=127.0.0.1", "pod/proxy", ":80"],
        ["kubectl", "proxy", "--unix-socket=/run/kpf"],
        ["kubectl", "get", "--raw", "/version"],
        ["python3", "-m", "kpf_supervise.sandbox"],
    ]
    scrape = Scrape(facts(busy(), Status(forward=TEMPLATE), commands=commands, sign_ins={"failed": 3}))
    assert scrape.value("process_start_time_seconds") == 1_700_000_000.5
    assert scrape.value("kpf_kubectl_processes", command="port-forward") == 1
    assert scrape.value("kpf_kubectl_processes", command="proxy") == 1
    assert (
        scrape.value("kpf_sign_ins_total", outcome="failed"),
        scrape.value("kpf_sign_ins_total", outcome="succeeded"),
    ) == (3, 0)
    assert [scrape.value("kpf_forwards", state=state) for state in ("active", "stopped", "failed")] == [1, 1, 0]
    (build,) = scrape.families["kpf_build"].samples
    assert set(build.labels) == {"version", "commit", "python"}


def test_the_names_follow_the_rules() -> None:
    for name, family in Scrape(facts(busy())).families.items():
        assert name.startswith("kpf_") or name == "process_start_time_seconds"
        assert family.documentation.endswith("."), name
        for unit in ("seconds", "bytes"):
            assert (family.unit == unit) == name.endswith(f"_{unit}"), name
        suffixes = {
            "counter": {"_total"},
            "gauge": {""},
            "info": {"_info"},
            "histogram": {"_bucket", "_sum", "_count"},
        }
        assert {each.name.removeprefix(name) for each in family.samples} == suffixes[family.type], name
        assert not name.endswith(("_total", "_info", "_count", "_sum", "_bucket", "_created")), name


def test_a_thousand_dormant_forwards_are_two_numbers_until_they_are_used() -> None:
    def dormant(number: int) -> Status:
        forward = replace(TEMPLATE, id=f"shop/web-{number}/http", dormant=True, lazy=True)
        return Status(forward=forward, state=State.IDLE if number % 2 else State.FAILED)

    statuses = [dormant(number) for number in range(2000)]
    scrape = Scrape(facts(*statuses, busy()))
    assert scrape.forwards == {"web/http"}
    assert [scrape.value("kpf_forwards", state=state) for state in ("idle", "failed")] == [1000, 1000]
    statuses[1].counters.connections = 1  # a client
    statuses[3].command = "kubectl port-forward"  # or kpfctl restart
    statuses[3].state = State.STOPPED  # it stays
    assert Scrape(facts(*statuses)).forwards == {"shop/web-1/http", "shop/web-3/http"}


@pytest.mark.parametrize("word", ['a "b" \\c', "line\nbreak", "\x1b[31mred", "ü", "\ud800", ""])
def test_a_name_from_outside_breaks_nothing(word: str) -> None:
    forward = replace(WEB, target=Target("selector", word))
    scrape = Scrape(facts(Status(forward=forward, context=word, namespace=word)))
    (info,) = scrape.families["kpf_forward"].samples
    shown = info.labels["context"]
    assert shown.isprintable() or not shown
    assert word not in ('a "b" \\c', "ü", "") or shown == word


def test_bytes_that_are_sent_again_do_not_make_a_counter_fall() -> None:
    status = busy()
    sample = ("kpf_forward_client_to_pod_bytes_total", "web/http")
    status.bytes_in = 100
    assert Scrape(facts(status)).value(sample[0], forward=sample[1]) == 100
    status.bytes_in = 40  # the pod never took them
    assert Scrape(facts(status)).value(sample[0], forward=sample[1]) == 100
    status.bytes_in = 120
    assert Scrape(facts(status)).value(sample[0], forward=sample[1]) == 120


def test_counters_live_as_long_as_the_forward_is_listed() -> None:
    board = Board()

    def connections(**changed: object) -> float | None:
        return Scrape(facts(*board.statuses.values())).value("kpf_forward_connections_total", forward="web/http")

    def listed(forward: Forward) -> Status:
        status = board.add(forward)
        status.counters.connections += 1
        status.bytes_out += 1
        return status

    listed(WEB)
    assert listed(replace(WEB, hold=1.0)).bytes_out == 2  # its lines in the file have changed
    assert connections() == 2
    board.remove(WEB.id)
    assert connections() is None
    listed(WEB)
    assert connections() == 1


def test_a_histogram_counts_each_time_once() -> None:
    held = Histogram()
    assert [count for _, count in held.cumulative()] == [0] * (len(HELD) + 1)
    for seconds in (0.0, 0.01, 0.011, 30.0, 1e6):
        held.observe(seconds)
    found = dict(held.cumulative())
    assert (found[0.01], found[0.1], found[10.0], found[30.0], found[300.0], found[float("inf")]) == (2, 3, 3, 4, 4, 5)
    assert held.total == pytest.approx(1_000_030.021)
