"""kpf-supervise --import: where it reads, where it prints, and its exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kpf_supervise.cli.program import main
from kpf_supervise.loading.loader import load


def run(*words: str, given: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["--import", *words], input=given)


def test_a_file_that_passes_the_check(tmp_path: Path) -> None:
    (tmp_path / "start.sh").write_text("kubectl port-forward svc/web 8080\nkubectl port-forward -n $NS svc/db 5432\n")
    done = run(str(tmp_path / "start.sh"))
    assert done.exit_code == 0
    told = f"{tmp_path}/start.sh: line 2: not kept: what $NS stands for is not known. Write it there\n"
    assert done.stderr == told
    (tmp_path / "kpf.yaml").write_text(done.stdout)
    assert [forward.id for forward in load(tmp_path / "kpf.yaml").forwards] == ["web"]
    assert CliRunner().invoke(main, ["--check", str(tmp_path / "kpf.yaml")]).exit_code == 0


def test_stdin() -> None:
    done = run("-", given="\N{BOM}kubectl port-forward --context büro svc/web 80".encode())
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout_bytes.decode().splitlines()[0].startswith("# Imported from stdin (")
    assert '    context: "büro"' in done.stdout_bytes.decode()


def test_nothing_that_can_be_kept() -> None:
    done = run("-", given=b"kubectl port-forward -n $NS svc/db 5432")
    assert done.exit_code == 1
    assert "# db:" in done.stdout
    assert done.stderr.splitlines()[-1] == "stdin: no port-forward in it can be kept"
    assert run("-", given=b"no such thing").stdout == ""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"apiVersion: skaffold/v1\nportForward: [a", "stdin:2:16: a list or group without its closing bracket."),
        (b'[{"local_port": ', "stdin:1:17: this is not JSON: Expecting value. Correct it."),
        (b"[[services]]\nname = ", "stdin: this is not TOML: Invalid value (at end of document). Correct it."),
        (b"forwards: {}", "stdin: it is a file of kpf-supervise already. Run it: kpf-supervise stdin"),
        (b"[" * 100_000, "stdin: nested too deeply. Check the brackets."),
        (b"x" * 1_000_001, "stdin: larger than 1 MB. Check that this is the right file."),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_can_not_be_read(given: bytes, said: str) -> None:
    done = run("-", given=given)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(said)


def test_no_such_file_and_no_second_one(tmp_path: Path) -> None:
    done = run(str(tmp_path / "none"))
    assert (done.exit_code, done.stderr) == (
        2,
        f"{tmp_path}/none: cannot be read: No such file or directory. Check the path.\n",
    )
    assert run("a", "b").exit_code == 2
