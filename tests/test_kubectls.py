"""Which kubectls the tests run on, and that a process which outlives the tests fails them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests import kubectls
from tests.kubectls import ROOT, Kubectl, behind, find, probe
from tests.test_find_kubectl import kubectl_says, script


def test_each_kubectl_is_the_version_that_it_is_said_to_be(kubectl: Kubectl) -> None:
    assert probe(kubectl.path) == kubectl


def test_a_dispatcher_stands_for_its_oldest_and_newest(tmp_path: Path) -> None:
    sdk = tmp_path / "sdk"
    for name in ("kubectl", "kubectl.1.9", "kubectl.1.27", "kubectl.1.30", "kubectl.1.33", "kubectl.1.33.old"):
        script(sdk / name, "")
    (tmp_path / "kubectl").symlink_to(sdk / "kubectl")
    assert behind(str(tmp_path / "kubectl")) == [str(sdk / "kubectl.1.9"), str(sdk / "kubectl.1.33")]

    (tmp_path / "chosen").symlink_to(sdk / "kubectl.1.30")
    for chosen in (str(sdk / "kubectl.1.27"), str(tmp_path / "chosen")):
        assert behind(chosen) == [chosen]


@pytest.mark.parametrize("text", ["", "#!/bin/sh\necho '[1]'\n", "#!/bin/sh\nexit 1\n", kubectl_says("unknown")])
def test_a_program_that_does_not_answer_is_no_kubectl(tmp_path: Path, text: str) -> None:
    assert probe(str(script(tmp_path / "kubectl", text))) is None


def test_finds_all_that_are_named_and_each_version_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"a": "v1.36.4", "b": "v1.20.2", "c": "v1.36.4", "path/kubectl": "v1.29.3-gke.100", "debian": "v1.32.3"}
    paths = {name: str(script(tmp_path / name, kubectl_says(version))) for name, version in versions.items()}
    monkeypatch.setenv("KUBECTLS", os.pathsep.join(paths[name] for name in "abc"))
    monkeypatch.delenv("KUBECTL", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}/path")
    monkeypatch.setattr(kubectls, "DEBIAN", tmp_path / "debian")
    assert find() == [
        Kubectl(paths["b"], (1, 20, 2), "1.20.2"),
        Kubectl(paths["path/kubectl"], (1, 29, 3), "1.29.3-gke.100"),
        Kubectl(paths["debian"], (1, 32, 3), "1.32.3"),
        Kubectl(paths["a"], (1, 36, 4), "1.36.4"),
    ]


def test_one_that_is_named_and_does_not_work_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = script(tmp_path / "kubectl", kubectl_says("v1.19.0"))
    monkeypatch.setenv("KUBECTLS", str(named))
    with pytest.raises(RuntimeError, match=r"isn't a kubectl of 1\.20 or newer"):
        find()


LEAK = """
import subprocess, sys
import tests.conftest

tests.conftest.GRACE = 0.2
SLEEP = [sys.executable, "-c", "import time; time.sleep(300)"]
START = f"import subprocess; print(subprocess.Popen({SLEEP}, stdout=subprocess.DEVNULL, start_new_session=True).pid)"

def test_leak():
    with open("pid", "w") as file:
        subprocess.run([sys.executable, "-c", START], stdout=file, check=True)  # whose end makes an orphan
"""


def test_an_orphan_fails_the_run_and_is_killed(tmp_path: Path) -> None:
    (tmp_path / "test_leak.py").write_text(LEAK)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-c", os.devnull, "--rootdir=.", "test_leak.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    pid = int((tmp_path / "pid").read_text())
    assert run.returncode == 1, run.stdout + run.stderr
    assert f"outlived the tests: pid {pid}, started in test_leak.py::test_leak (call): " in run.stdout
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
