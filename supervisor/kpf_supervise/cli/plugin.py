"""Completion for `kubectl kpf`. kubectl 1.26 and later run `kubectl_complete-kpf` with the words that were typed, the
last of them not complete, and read lines of a candidate and its description, separated by a tab, and at last a colon
with a number: cobra's ShellCompDirective (spf13/cobra, completions.go)."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from click.shell_completion import ShellComplete

from kpf_supervise.cli.program import main
from kpf_supervise.text import one_line

_FILES = 0  # ShellCompDirectiveDefault: the shell completes files where nothing is proposed
_NO_FILES = 4  # ShellCompDirectiveNoFileComp
_FOLDERS = 16  # ShellCompDirectiveFilterDirs


def complete() -> None:
    print("\n".join(proposed(sys.argv[1:])))


def proposed(words: Sequence[str]) -> list[str]:
    """The lines for kubectl."""
    *before, begun = words or [""]
    items = ShellComplete(main, {}, "kubectl kpf", "").get_completions(list(before), begun)
    lines = ["\t".join(filter(None, (item.value, one_line(item.help or "")))) for item in items if item.type == "plain"]
    kinds = {item.type for item in items}
    return [*lines, f":{_FILES if 'file' in kinds else _FOLDERS if 'dir' in kinds else _NO_FILES}"]
