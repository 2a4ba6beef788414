"""The option --group."""

from __future__ import annotations

from collections.abc import Sequence

import click


def check_groups(groups: Sequence[str], known: Sequence[str]) -> None:
    """Raises click.UsageError unless all of them are `known`, the groups of the file."""
    from kpf_supervise.text import quote

    if wrong := [quote(group) for group in groups if group not in known]:
        there = f"It has: {', '.join(known)}" if known else "It has none: write groups: [NAME] there"
        raise click.UsageError(f"no forward of the file is in the group {' or '.join(wrong)}. {there}")
