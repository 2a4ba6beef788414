"""The verb completion."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import click

from kpf_supervise.kpfctl.group import example, main
from kpf_supervise.shell_completion.shells import PROGRAMS, SHELLS

_FIRST_LINE = "# Completion of kpfctl and kpf-supervise, written by: kpfctl completion"


@main.command(
    epilog=example(
        'eval "$(kpfctl completion bash)"', "kpfctl completion fish | source", "kpfctl completion zsh --install"
    )
)
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.option("--install", is_flag=True, help="Write it to the files in which the shell looks by itself, for all time.")
def completion(shell: str, install: bool) -> None:
    """Print a script with which the shell completes verbs, options, ids, and what there is in the cluster: for kpfctl
    and for kpf-supervise."""
    script = SHELLS[shell](main, {}, "kpfctl", PROGRAMS["kpfctl"]).source()
    if not install:
        click.echo(script, nl=False)
        return
    folder, names, more = _place(shell)
    first, _, rest = script.partition("\n")
    text = f"{first}\n{_FIRST_LINE}\n{rest}" if first.startswith("#compdef") else f"{_FIRST_LINE}\n{script}"
    try:
        for name in names:
            _write(folder / name, text)
    except OSError as error:
        click.echo(f"kpfctl: {error.filename}: {error.strerror}", err=True)
        sys.exit(1)
    click.echo(f"written to {' and '.join(str(folder / name) for name in names)}. {more}")


def _place(shell: str) -> tuple[Path, list[str], str]:
    """The folder, the names of the files, and what the user has to do. The folders are those of bash-completion 2 and
    of fish; zsh has none of its own in the user's home."""
    data = _xdg("XDG_DATA_HOME", ".local/share")
    new = "It works in each new shell"
    match shell:
        case "bash":
            given = os.environ.get("BASH_COMPLETION_USER_DIR", "").partition(":")[0]
            folder = (Path(given) if given else data / "bash-completion") / "completions"
            return folder, list(PROGRAMS), f"{new}, if the package bash-completion is installed."
        case "fish":
            folder = _xdg("XDG_CONFIG_HOME", ".config") / "fish" / "completions"
            return folder, [f"{name}.fish" for name in PROGRAMS], f"{new}."
    folder = data / "zsh" / "site-functions"
    line = f"fpath=({folder} $fpath)"
    return folder, ["_kpfctl"], f"{new} with this line in ~/.zshrc, above compinit:\n{line}"


def _xdg(variable: str, default: str) -> Path:
    """A folder of the XDG base directory specification, which says that a relative path counts as not set."""
    given = os.environ.get(variable, "")
    return Path(given) if os.path.isabs(given) else Path.home() / default


def _write(path: Path, text: str) -> None:
    """Raises OSError, FileExistsError if there is a file that is not ours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and _FIRST_LINE not in path.read_text(errors="replace"):
        raise FileExistsError(errno.EEXIST, "is there, and was not written by kpfctl. Remove it first", str(path))
    path.write_text(text)
