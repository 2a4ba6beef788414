"""Label selectors against a few pods."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kpf_supervise.config.selectors import from_label_selector, from_map, parse_selector

PODS = {
    "search": {"app": "search", "tier": "backend"},
    "web": {"app": "web", "tier": "front"},
    "job": {"app": "job", "example.com/once": ""},
}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("app=search", "search"),
        ("app==search,tier=backend", "search"),
        (" app = search , tier = front ", ""),
        ("app!=web", "search job"),
        ("tier!=front", "search job"),  # a pod without the label too
        ("app in (web,search)", "search web"),
        ("app in(web)", "web"),
        ("tier notin ( front , back )", "search job"),
        ("tier", "search web"),
        ("!tier", "job"),
        ("! tier,app", "job"),
        ("example.com/once=", "job"),
        ("app in (web,job),!example.com/once", "web"),
    ],
)
def test_text(text: str, names: str) -> None:
    selector = parse_selector(text)
    assert [name for name, labels in PODS.items() if selector.matches(labels)] == names.split()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty selector, which would match every pod"),
        ("  ", "an empty selector, which would match every pod"),
        ("app=search,", "not a label selector from its character 1 on"),
        ("app=search,tier in backend", "not a label selector from its character 12 on"),
        ("app in (web", "not a label selector from its character 1 on"),
        ("app web", "not a label selector from its character 1 on"),
        ("app=web=x", "not a label selector from its character 1 on"),
        ("app:search", '"app:search" is not a label key'),
        ("-app", '"-app" is not a label key'),
        ("A.com/app", '"A.com/app" is not a label key'),
        ("a" * 64, f'"{"a" * 59}…" is not a label key'),
        ("app=_x", '"_x" is not a label value'),
        ("app in (web,x y)", '"x y" is not a label value'),
        ("app>1", '"app>1" is not a label key'),
    ],
)
def test_text_that_is_no_selector(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        parse_selector(text)


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ({"matchLabels": {"app": "web"}}, "web"),
        ({"matchLabels": {"app": "web", "tier": "back"}}, ""),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "job"]}]}, "web job"),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["front"]}]}, "search job"),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, "search web"),
        (
            {"matchLabels": {"app": "job"}, "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]},
            "job",
        ),
    ],
)
def test_object(selector: dict[str, Any], names: str) -> None:
    parsed = from_label_selector(selector)
    assert [name for name, labels in PODS.items() if parsed.matches(labels)] == names.split()


def test_service() -> None:
    selector = from_map({"app": "search", "tier": "backend"})
    assert [name for name, labels in PODS.items() if selector.matches(labels)] == ["search"]


def test_an_empty_selector_never_matches_everything() -> None:
    for read in (from_map, from_label_selector):
        with pytest.raises(ValueError, match="empty selector"):
            read({})
    with pytest.raises(ValueError, match="empty selector"):
        from_map(None)


def test_unknown_operator() -> None:
    with pytest.raises(ValueError, match="unknown selector operator Gt"):
        from_label_selector({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]})
