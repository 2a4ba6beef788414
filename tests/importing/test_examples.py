"""The example files of other tools: what is printed, that it is a valid file, and that what is lost is told."""

from __future__ import annotations

import re

import pytest

from kpf_supervise.importing.conversion import convert
from kpf_supervise.loading.loader import parse
from tests.importing.examples import EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str) -> None:
    given, printed = EXAMPLES[name]
    made = convert(given.encode(), "it")
    assert made.text == printed
    ids = {forward.id.partition("/")[0] for forward in parse(made.text, "kpf.yaml", {}).forwards}
    assert len(ids) == made.forwards


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_comment_on_what_is_lost_is_told(name: str) -> None:
    given, printed = EXAMPLES[name]
    comments = re.findall(r"(?m)^ *# (.*not kept: .*)$", printed)
    assert sorted(convert(given.encode(), "it").lost) == sorted(comments)


@pytest.mark.parametrize(
    "text",
    [
        "dev: deps\n\t@kubectl port-forward svc/web 80\n",
        "services:\n\tkubectl port-forward svc/web 80 &\n",
        "dev: kubectl port-forward svc/web 80\n",
        "forwards: kubectl port-forward svc/web 80\nservices: rails server\n",
        "services:\n  web: {image: nginx}\n  forward:\n    command: kubectl port-forward svc/web 80\n",
    ],
)
def test_what_only_looks_like_the_file_of_another_tool(text: str) -> None:
    """Makefiles, Procfiles and compose files."""
    assert [forward.remote for forward in parse(convert(text.encode(), "it").text, "f").forwards] == [80]
