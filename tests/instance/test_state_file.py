"""The state file: what of it is right is kept, whatever else stands in it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings

from kpf_supervise.config.options import written
from kpf_supervise.instance.state_file import SavedState, restore, save
from kpf_supervise.instance.stopped import StoppedEarlier
from kpf_supervise.model import TEMPLATE, Cluster, Forward, Target
from kpf_supervise.origin import Origin
from tests.anything import EXAMPLES, RANDOM, json_value, made, some_bytes, text

pytestmark = RANDOM

MARK = {"kpf-supervise state": 1}
WEB = replace(TEMPLATE, id="web", target=Target("service", "web"), local=8080, remote="http")
DB = replace(TEMPLATE, id="db", target=Target("pod", "db-0"), remote=5432)


def forwards(path: Path) -> tuple[list[str], list[str]]:
    """The ids of what is restored without a word: started, stopped."""
    saved = restore(path, pytest.fail)
    return [each.id for each in saved.started], list(saved.stopped)


def still_stopped(saved: SavedState, *forwards: Forward) -> list[str]:
    earlier = StoppedEarlier(saved.stopped)
    return [each.id for each in forwards if earlier.recalls(each, Origin.FILE)]


def test_one_bad_entry_costs_no_other_also_at_the_start_after_the_next(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    content = json.dumps(
        MARK
        | {
            "started": {"web": written(WEB), "bad": {"target": "pod/a"}, "worse": 1, "\ud800": written(DB)},
            "stopped": {"db": written(DB), "bad": [], "\ud800": written(DB)},
        }
    )
    path.write_text(content)
    told: list[str] = []
    saved = restore(path, told.append)
    assert (saved.started, still_stopped(saved, DB, replace(DB, id="other"))) == ((WEB,), ["db"])
    (notice,) = told
    assert f"is set aside as {path}.broken: " in notice
    for each in ("forwards.bad: no ports", "forwards.worse: ", "stopped.bad: ", "stopped.\N{REPLACEMENT CHARACTER}: "):
        assert each in notice
    assert notice.isprintable()
    assert Path(f"{path}.broken").read_text() == content
    assert path.stat().st_mode & 0o777 == 0o600
    assert forwards(path) == (["web"], ["db"])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"kpf-supervise state": 1, "sta', "Unterminated string"),
        ('{"version": 3}', 'it does not say "kpf-supervise state": 1'),
        ('{"kpf-supervise state": 1, "started": [], "stopped": {}}', '"started" must be an object'),
        ("\x00\xff", "Expecting value"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_what_is_no_state_is_set_aside(content: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text(content)
    told: list[str] = []
    assert restore(path, told.append).started == ()
    (notice,) = told
    assert f"is set aside as {path}.broken: " in notice
    assert why in notice
    assert Path(f"{path}.broken").read_text() == content


@pytest.mark.parametrize("part", ["started", "stopped"])
def test_one_part_that_is_wrong_costs_not_the_other(part: str, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    good = {"started": {"web": written(WEB)}, "stopped": {"db": written(DB)}}
    path.write_text(json.dumps(MARK | good | {part: [1]}))
    told: list[str] = []
    restore(path, told.append)
    assert len(told) == 1
    assert forwards(path) == ([], ["db"]) if part == "started" else (["web"], [])


@pytest.mark.parametrize("text", ["\ud800", "\0", "größe", "\U0001f600", "a\nb", "\x85"])
def test_no_value_keeps_the_others_from_being_saved(text: str, tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    strange = replace(DB, cluster=Cluster(context=text))
    save(path, [strange, WEB], {"\ud800": written(strange)})
    saved = restore(path, lambda _: None)
    assert WEB in saved.started
    if text.isprintable():
        assert saved.started[0].cluster.context == text


def test_a_copy_that_can_not_be_made_costs_nothing_of_what_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    path.write_text(json.dumps(MARK | {"started": {"web": written(WEB), "bad": 1}, "stopped": {}}))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    told: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert restore(path, told.append).started == (WEB,)
    assert "No space left on device" in told[0]
    assert restore(path, told.append).started == (WEB,)


def test_a_pipe_in_its_place_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    os.mkfifo(path)
    told: list[str] = []
    assert restore(path, told.append).started == ()
    assert "is a pipe" in told[0]


WORDS = [*written(WEB), "started", "stopped", "web", "db"]
TEXTS = ["web", "8080", "pod/a", "1s", "<<"]


def a_state(random: Random) -> bytes:
    """Almost a state file, other JSON, or no JSON."""

    def value() -> Any:
        return json_value(random, WORDS, TEXTS)

    def entry() -> Any:
        more = {random.choice(WORDS): value() for _ in range(random.randrange(4))}
        return random.choice([value(), more, written(WEB) | more])

    def part() -> Any:
        entries = {random.choice([*TEXTS, text(random)]): entry() for _ in range(random.randrange(3))}
        return random.choice([value(), entries, entries])

    match random.randrange(8):
        case 0:
            return some_bytes(random)
        case 1:
            return json.dumps(value()).encode()
    return json.dumps(MARK | {name: part() for name in ("started", "stopped") if random.randrange(6)}).encode()


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder for thousands of files, of which a disk would make a minute."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        yield Path(folder)


def test_whatever_stands_there_is_no_more_than_a_notice(in_memory: Path) -> None:
    path = in_memory / "state.json"

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(made(a_state))
    def holds(content: bytes) -> None:
        path.write_bytes(content)
        told: list[str] = []
        saved = restore(path, told.append)
        for copy in in_memory.glob("*.broken*"):
            assert copy.read_bytes() == content
            copy.unlink()
        assert all(notice.isprintable() for notice in told)
        ids = [each.id for each in saved.started], list(saved.stopped)
        if path.exists():
            assert forwards(path) == ids, "what was right is there at the next start, and nothing else"
        still_stopped(saved, WEB, DB)
        save(path, saved.started, {"db": written(DB)})
        assert forwards(path) == (ids[0], ["db"])

    holds()
