"""Whether the user's kuberc says which credential plugins kubectl may run (kubectl 1.35 and later). Pure but for the
reading of the file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_POLICY = "credentialPluginPolicy"
_LIST = "credentialPluginAllowlist"


def file_of(environment: Mapping[str, str]) -> Path | None:
    """The kuberc that kubectl reads; None if it is told to read none."""
    given = environment.get("KUBERC", "")
    if given == "off" or environment.get("KUBECTL_KUBERC", "").lower() == "false":
        return None
    return Path(given) if given else Path(os.path.expanduser("~/.kube/kuberc"))


def restricts(text: str) -> bool:
    """Whether it restricts plugins. It is then left to kubectl which of them it runs; so it is where we don't
    understand the file."""
    if _POLICY not in text and _LIST not in text:
        return False
    import yaml  # slow to import, and few have such a file

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return True
    if not isinstance(found, dict):
        return True
    return found.get(_POLICY) not in (None, "", "AllowAll") or bool(found.get(_LIST))


def restricted(environment: Mapping[str, str]) -> Path | None:
    """The kuberc that restricts plugins, if it does."""
    file = file_of(environment)
    if file is None:
        return None
    try:
        return file if restricts(file.read_text()) else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError):  # kubectl can't read it either, and says so
        return None
