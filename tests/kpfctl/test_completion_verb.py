"""`kpfctl completion --install`: where the shells look by themselves."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kpf_supervise.kpfctl import completion_verb  # noqa: F401  the verb
from kpf_supervise.kpfctl.group import main


def install(shell: str, home: Path, **environment: str) -> Result:
    unset = dict.fromkeys(["XDG_DATA_HOME", "XDG_CONFIG_HOME", "BASH_COMPLETION_USER_DIR"])
    return CliRunner().invoke(main, ["completion", shell, "--install"], env={**unset, "HOME": str(home), **environment})


@pytest.mark.parametrize(
    ("shell", "files"),
    [
        ("bash", [f".local/share/bash-completion/completions/{name}" for name in ("kpf-supervise", "kpfctl")]),
        ("zsh", [".local/share/zsh/site-functions/_kpfctl"]),
        ("fish", [f".config/fish/completions/{name}.fish" for name in ("kpf-supervise", "kpfctl")]),
    ],
)
def test_it_is_written_where_the_shell_looks_and_again_after_an_upgrade(
    shell: str, files: list[str], tmp_path: Path
) -> None:
    printed = CliRunner().invoke(main, ["completion", shell]).stdout
    for _ in range(2):
        done = install(shell, tmp_path)
        assert done.exit_code == 0, done.output
        assert sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()) == files
        for name in files:
            written = (tmp_path / name).read_text()
            assert "".join(line for line in written.splitlines(True) if "written by" not in line) == printed
            assert str(tmp_path / name) in done.output
            assert written.startswith("#compdef") == (shell == "zsh"), "compinit reads the first line only"
        (tmp_path / files[0]).write_text(written + "# of an older version\n")


def test_the_folders_of_the_environment_count_unless_they_are_relative(tmp_path: Path) -> None:
    own = tmp_path / "own"
    assert install("bash", tmp_path, BASH_COMPLETION_USER_DIR=f"{own}:/usr").exit_code == 0
    assert (own / "completions" / "kpfctl").exists()
    assert install("fish", tmp_path, XDG_CONFIG_HOME="relative").exit_code == 0
    assert (tmp_path / ".config/fish/completions/kpfctl.fish").exists()


def test_a_file_of_the_user_s_own_is_kept_and_named(tmp_path: Path) -> None:
    own = tmp_path / ".config/fish/completions/kpfctl.fish"
    own.parent.mkdir(parents=True)
    own.write_text("complete -c kpfctl\n")
    done = install("fish", tmp_path)
    assert (done.exit_code, own.read_text()) == (1, "complete -c kpfctl\n")
    assert f"{own}: is there, and was not written by kpfctl. Remove it first" in done.output


def test_bash_reads_what_was_written(tmp_path: Path) -> None:
    assert install("bash", tmp_path).exit_code == 0
    file = tmp_path / ".local/share/bash-completion/completions/kpf-supervise"
    command = ["bash", "--norc", "-c", f". {file}; complete -p kpfctl kpf-supervise"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("-F _kpf_complete") == 2
