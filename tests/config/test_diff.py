from __future__ import annotations

from dataclasses import replace

from kpf_supervise.config.diff import plan
from kpf_supervise.model import Forward, Target

WEB = Forward(id="web", target=Target("service", "web"), remote=80, local=8080)
DB = Forward(id="db", target=Target("statefulset", "db"), remote=5432, local=5432)


def test_the_same_file_changes_nothing() -> None:
    changes = plan({"web": WEB, "db": DB}, [replace(DB), replace(WEB, groups=("backend",))])
    assert (changes.stop, changes.start, changes.removed) == ((), (), set())


def test_only_what_changed_is_touched() -> None:
    moved = replace(WEB, local=8081)
    changes = plan({"web": WEB, "db": DB}, [moved, DB])
    assert (changes.stop, changes.start, changes.removed) == (("web",), (moved,), set())


def test_gone_and_new() -> None:
    changes = plan({"web": WEB}, [DB])
    assert (changes.stop, changes.start, changes.removed) == (("web",), (DB,), {"web"})


def test_one_that_could_not_begin_is_begun_anew() -> None:
    changes = plan({"web": None, "db": DB}, [WEB, DB])
    assert (changes.stop, changes.start, changes.removed) == (("web",), (WEB,), set())
