"""What is installed, and where something else is called `supervisor`: the package on PyPI, or a folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path
from typing import Any

import pytest

from kpf_supervise.version import VERSION, commit
from tests.conftest import NEWEST

ROOT = Path(__file__).parent.parent.parent

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


def ran(*words: object, **more: Any) -> str:
    command = [str(word) for word in words]
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, check=False, **more
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.timeout(120)
def test_the_wheel_made_of_the_source_distribution_is_all_that_is_needed_beside_the_other_supervisor(
    tmp_path: Path,
) -> None:
    """What the package depends on is taken from this environment; nothing is fetched."""
    ran(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, ROOT)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"Makefile", "config.example.yaml", "docs/configuration.md", "tests/e2e/test_install.py"} <= names
    assert not [name for name in names if name.startswith((".venv", ".cache")) or name.endswith(".pyc")]

    home = tmp_path / "environment"
    venv.create(home)
    folder = next(home.glob("lib/python*/site-packages"))
    (folder / "what_it_needs.pth").write_text(sysconfig.get_path("purelib"))
    (wheel,) = tmp_path.glob("*.whl")
    ran(sys.executable, "-m", "pip", "--python", home / "bin/python", "install", "--no-deps", "--no-index", wheel)
    assert (home / "share/man/man1/kpfctl.1").exists()

    where: dict[str, Any] = {"cwd": tmp_path, "env": {**os.environ, "HOME": str(tmp_path), "KUBECTL": NEWEST.path}}
    both = "import supervisor.supervisord, kpf_supervise; print(kpf_supervise.__file__)"
    assert ran(home / "bin/python", "-c", both, **where).startswith(str(folder.resolve()))
    version, kubectl = ran(home / "bin/kpf-supervise", "--version", **where).splitlines()
    here = commit()
    assert version == f"kpf-supervise {VERSION}" + (f" (commit {here})" if here else "")
    assert kubectl == str(NEWEST)
    assert ran(home / "bin/kpfctl", "--version", **where) == version.replace("kpf-supervise", "kpfctl") + "\n"

    one, link = tmp_path / "kpf-supervise.pyz", tmp_path / "kpfctl"
    entry = ["--entry-point", "kpf_supervise.entry:by_name", "--extend-pythonpath"]
    ran(sys.executable, "-m", "shiv", *entry, "--no-deps", "--no-index", "--output-file", one, wheel)
    link.symlink_to(one)
    alone = {**where, "env": {**where["env"], "SHIV_ROOT": str(tmp_path), "PYTHONPATH": sysconfig.get_path("purelib")}}
    for program, expected in ((one, version), (link, version.replace("kpf-supervise", "kpfctl"))):
        assert ran(sys.executable, program, "--version", **alone).splitlines()[0] == expected

    config = tmp_path / "web.yaml"
    config.write_text("forwards: {web: {target: service/web, ports: ':http'}}")
    read = "import os, urllib.request as r; print(r.urlopen('http://' + os.environ['KPF_WEB_ADDR']).read().decode())"
    answer = ran(home / "bin/kpf-supervise", "--sandbox", config, "--", sys.executable, "-c", read, **where)
    assert answer.startswith("web-")
