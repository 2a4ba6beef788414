"""Writes the manual pages in docs/man from the help of the commands: make man."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from click_man.core import write_man_pages  # type: ignore[import-untyped]

from kpf_supervise.cli.program import main as kpf_supervise
from kpf_supervise.kpfctl import program  # noqa: F401  declares the verbs
from kpf_supervise.kpfctl.group import main as kpfctl
from kpf_supervise.version import VERSION

FOLDER = Path(__file__).parent.parent / "docs" / "man"


def write(folder: Path) -> None:
    """One page for each command, and for each verb of kpfctl."""
    for name, command in (("kpf-supervise", kpf_supervise), ("kpfctl", kpfctl)):
        _name_by_the_first_sentence(command)
        write_man_pages(name, command, version=VERSION, target_dir=str(folder), date=" ")
        _append_the_epilog(folder / f"{name}.1", command)
        for verb, each in command.commands.items() if isinstance(command, click.Group) else ():
            _append_the_epilog(folder / f"{name}-{verb}.1", each)


def _name_by_the_first_sentence(command: click.Command) -> None:
    """click-man would cut it after 45 characters."""
    command.short_help = " ".join((command.help or "").split("\n\n")[0].split()).split(". ")[0].rstrip(".")
    for verb in command.commands.values() if isinstance(command, click.Group) else ():
        _name_by_the_first_sentence(verb)


def _append_the_epilog(page: Path, command: click.Command) -> None:
    """The examples, which click-man leaves out."""
    if command.epilog:
        lines = [line.replace("\\", "\\e").replace("-", "\\-") for line in command.epilog.strip("\b\n").splitlines()]
        text = "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in lines)
        page.write_text(f"{page.read_text().rstrip()}\n.SH EXAMPLES\n.nf\n{text}\n.fi\n")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if sys.argv[1:] else FOLDER
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.1"):
        old.unlink()
    write(folder)
