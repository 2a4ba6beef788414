"""The programs where something else is called `supervisor`: an installed package, as PyPI has one, or a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = [
    [str(Path(sys.executable).with_name("kpf-supervise"))],
    [str(Path(sys.executable).with_name("kpfctl"))],
    [sys.executable, "-m", "kpf_supervise"],
    [sys.executable, "-m", "kpf_supervise.kpfctl"],
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda words: " ".join(words[-2:]).rpartition("/")[2])
@pytest.mark.parametrize("where", ["installed", "the current folder"])
def test_another_supervisor_is_in_nobodys_way(program: list[str], where: str, tmp_path: Path) -> None:
    """An installed package comes before those that are found later, as PYTHONPATH does."""
    other = tmp_path / "supervisor"
    other.mkdir()
    (other / "__init__.py").write_text("raise SystemExit('the other one was run')\n")
    environment = dict(os.environ)
    if where == "installed":
        environment["PYTHONPATH"] = str(tmp_path)
    here = tmp_path if where == "the current folder" else Path("/")
    done = subprocess.run([*program, "--help"], cwd=here, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "Exit codes" in done.stdout) == (0, True), done.stderr
