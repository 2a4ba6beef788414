"""The option --import."""

from __future__ import annotations

from pathlib import Path

import click

from kpf_supervise.config.errors import ConfigError
from kpf_supervise.importing.conversion import LARGEST, convert
from kpf_supervise.text import one_line


def print_imported(path: Path) -> int:
    """Print a configuration made from the file at `path` (-: from stdin). The exit code is 0 if there is something in
    it."""
    name = "stdin" if str(path) == "-" else one_line(str(path))
    try:
        with click.open_file(str(path), "rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        click.echo(f"{name}: cannot be read: {error.strerror}. Check the path.", err=True)
        return 2
    if len(data) > LARGEST:
        click.echo(f"{name}: larger than 1 MB. Check that this is the right file.", err=True)
        return 2
    try:
        made = convert(data, name)
    except ConfigError as error:
        click.echo(str(error), err=True)
        return 2
    for each in made.lost:
        click.echo(f"{name}: {each}", err=True)
    if made.forwards or made.lost:
        click.echo(made.text.encode(), nl=False)  # a configuration is UTF-8, whatever the terminal
    if not made.forwards:
        click.echo(f"{name}: no port-forward in it can be kept", err=True)
    return 0 if made.forwards else 1
