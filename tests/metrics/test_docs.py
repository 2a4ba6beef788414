"""The page of the metrics can't go stale."""

from __future__ import annotations

import re

import yaml

from kpf_supervise.counters import Unserved
from kpf_supervise.decision.tunnel_states import Reason
from kpf_supervise.discovery.sight import Left
from kpf_supervise.model import Cause
from tests.metrics.test_collect import Scrape, busy, facts
from tests.test_docs import PAGES

PAGE = PAGES["metrics.md"]
NOT_OF_SERVING_ONES = {Reason.FAULT, Reason.SURPLUS, Reason.DRAINED, Reason.DEAD, Reason.POD_GONE, Reason.CROWDED}


def rows(title: str) -> list[list[str]]:
    """The words in code of each cell of the table with this title."""
    table = PAGE.partition(title)[2].partition("\n\n")[0].splitlines()[2:]
    return [[" ".join(re.findall(r"`([^`]+)`", cell)) for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table]


def test_the_table_has_every_metric_with_its_labels() -> None:
    told = {}
    for name, family in Scrape(facts(busy())).families.items():
        shown = f"{name}{ {'counter': '_total', 'info': '_info'}.get(family.type, '') }"
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        told[shown] = (family.type, labels)
    types = dict(re.findall(r"\n\| `(\w+)` \| (\w+) \|", PAGE))
    table = rows("| metric | type | labels | meaning |")
    assert {name: (types[name], set(labels.split())) for name, _, labels, _ in table} == told


def test_the_words_of_labels_are_shown() -> None:
    meaning = {name: words.split() for name, _, _, words in rows("| metric | type | labels | meaning |")}
    assert {*meaning["kpf_forward_retargets_total"]} == {each.word for each in Left}
    assert {*meaning["kpf_forward_unserved_connections_total"]} - {"hold"} == {*Unserved}
    causes = {cause for cause, _ in rows("| cause | what happened |")}
    assert causes == {each.word for each in Reason if each not in NOT_OF_SERVING_ONES}
    assert not causes & {*Cause}, "one word would have two meanings"


def test_the_expressions_are_about_metrics_that_there_are() -> None:
    samples = {sample.name for family in Scrape(facts(busy())).families.values() for sample in family.samples}
    expressions = [expression for expression, _ in rows("| expression | says |")]
    assert len(expressions) > 5
    for expression in expressions:
        assert {*re.findall(r"kpf_\w+", expression)} <= samples, expression
        assert expression.count("(") == expression.count(")")


def test_the_scrape_configuration_is_yaml() -> None:
    (block,) = re.findall(r"```yaml\n(scrape_configs.*?)```", PAGE, re.DOTALL)
    (job,) = yaml.safe_load(block)["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["localhost:9464"]}]
