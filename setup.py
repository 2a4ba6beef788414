"""What pyproject.toml can't say: the commit is written into what is built, for `kpf-supervise --version`."""

from __future__ import annotations

import runpy
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).parent
VERSION = runpy.run_path(str(ROOT / "supervisor" / "kpf_supervise" / "version.py"))


def write_commit(root: Path) -> None:
    (root / "kpf_supervise" / VERSION["COMMIT_FILE"]).write_text(VERSION["commit"]() + "\n")


class BuildPy(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            write_commit(Path(self.build_lib))


class Sdist(sdist):
    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        write_commit(Path(base_dir) / "supervisor")


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})
