"""What the shell completes on the command line of kpf-supervise, from the cluster that it names. If nothing is known
soon, nothing is completed."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from kpf_supervise.cli.kubectl import chosen_kubectl, not_runnable
from kpf_supervise.cli.words import default_file, is_file
from kpf_supervise.config.words import is_target
from kpf_supervise.control.methods import METHODS
from kpf_supervise.shell_completion.completion import Items, beginning, contexts, ports, targets

_FILES = [CompletionItem("", type="file")]
_CONFIGS = ("*.yaml", "*.yml")


def complete_contexts(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    return contexts(_ask(context, "contexts"), incomplete)


def complete_namespaces(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    return beginning([(name, "") for name in _ask(context, "namespaces")], incomplete)


def complete_words(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """A file or a target, and ports after a target. After a file or `--`: a COMMAND."""
    words: list[str] = list(context.params.get("words") or ())
    selector = context.params.get("selector")
    if context.params.get("command") is not None or (words and not selector and is_file(words[0], words[1:2])):
        return _FILES
    if selector or words:
        target = selector or words[0]
        return beginning(ports(_ask(context, "ports", target=target), target, incomplete), incomplete)
    if incomplete.startswith((".", "/", "~")) or ("/" in incomplete and not is_target(incomplete)):
        return _FILES
    found = beginning([*_configs(incomplete), *targets(_ask(context, "targets"), incomplete)], incomplete)
    return found or _FILES


def complete_groups(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Those of the file that stands on the command line already, or of the one that is used without."""
    from kpf_supervise.config.errors import ConfigError
    from kpf_supervise.loading.loader import load

    words = [*(context.params.get("words") or ()), *context.args]  # click leaves them there before an option's value
    path = Path(words[0]) if words else default_file()
    try:
        known = load(path).groups if path is not None else []
    except ConfigError:
        return []
    return beginning([(group, "") for group in known], incomplete)


def _configs(incomplete: str) -> Iterator[tuple[str, str]]:
    for pattern in _CONFIGS:
        for file in sorted(glob.glob(glob.escape(incomplete) + pattern)):
            yield file, "a configuration file"


def _ask(context: click.Context, method: str, **params: str) -> list[Any]:
    """The answer from the cluster that the options name; nothing if it would be that of the sandbox."""
    given = context.params
    if given.get("sandbox"):
        return []
    _, binary = chosen_kubectl(given.get("kubectl"), None, None)
    if not_runnable(binary):
        return []
    for name in ("namespace", "context", "kubeconfig"):
        if given.get(name) and name in METHODS[method]:
            params[name] = os.path.abspath(given[name]) if name == "kubeconfig" else given[name]
    from kpf_supervise.cli.catalog import ask  # imports trio

    return ask(binary, method, params)
