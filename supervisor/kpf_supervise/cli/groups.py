"""The option --group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem


def check_groups(groups: Sequence[str], known: Sequence[str]) -> None:
    """Raises click.UsageError unless all of them are `known`, the groups of the file."""
    from kpf_supervise.text import quote

    if wrong := [quote(group) for group in groups if group not in known]:
        there = f"It has: {', '.join(known)}" if known else "It has none: write groups: [NAME] there"
        raise click.UsageError(f"no forward of the file is in the group {' or '.join(wrong)}. {there}")


def complete_groups(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Those of the file that stands on the command line already."""
    from kpf_supervise.config.errors import ConfigError
    from kpf_supervise.loading.loader import load

    words = [context.params.get("config"), *context.args]  # click leaves arguments there before an option's value
    path = next(filter(None, words), None)
    try:
        known = load(Path(path)).groups if path is not None else []
    except ConfigError:
        return []
    return [CompletionItem(group) for group in known if group.startswith(incomplete)]
