"""The manual pages in docs/man say what --help says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.man_pages import FOLDER


def test_they_are_those_of_the_commands_as_they_are_now(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "tests.man_pages", str(tmp_path)], check=True)
    made, kept = ({page.name: page.read_text() for page in folder.iterdir()} for folder in (tmp_path, FOLDER))
    assert made == kept, "run: make man"
    assert "kpf-supervise --proxy 1080" in kept["kpf-supervise.1"].replace("\\-", "-"), "examples are in them"
