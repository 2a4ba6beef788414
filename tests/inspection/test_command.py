"""The options --init and --check --live: what they may be combined with. No cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from kpf_supervise.cli.program import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--init forwards.yaml", "--init takes no CONFIG, TARGET or COMMAND"),
        ("--init -- true", "--init takes no CONFIG, TARGET or COMMAND"),
        ("--init -n Shop", "Shop"),
        ("--init --context -x", "is not a context's name"),
        ("--init --kubeconfig nosuch", 'there is no file "nosuch"'),
        ("-n shop forwards.yaml", "-n belongs to a TARGET"),
        ("--live forwards.yaml", "--live belongs to --check"),
        ("--check forwards.yaml -o json", "--output belongs to --check --live"),
    ],
)
def test_what_does_not_go_together(words: str, said: str) -> None:
    done = CliRunner().invoke(main, words.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_wrong_file_asks_no_cluster(tmp_path: Path) -> None:
    (tmp_path / "kpf.yaml").write_text("forwards: {web: {target: service/web}}")
    done = CliRunner().invoke(main, ["--check", "--live", str(tmp_path / "kpf.yaml"), "--kubectl", "/bin/false"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "no ports" in done.stderr


def test_a_kubectl_that_can_not_be_run() -> None:
    done = CliRunner().invoke(main, ["--init", "--kubectl", "/nosuch/kubectl"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "--kubectl: cannot run /nosuch/kubectl: there is no such file" in done.stderr
