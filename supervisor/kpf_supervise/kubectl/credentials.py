"""Why the kubeconfig's credential plugin gave no credentials, from kubectl's output and its own. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kpf_supervise.model import Cause, Problem

_LONGEST = 300  # characters of the plugin's own output

_FAILED = re.compile(r"getting credentials: (?P<why>.*)")
_NOT_INSTALLED = re.compile(r"exec: executable (?P<name>\S+) not found|fork/exec (?P<path>\S+): no such file")
_EXIT_CODE = re.compile(r"exec: executable (?P<name>\S+) failed with (?P<code>exit code \d+)")
# kubectl 1.35 and later; a quote may have become a backslash before it
_NOT_ALLOWED = re.compile(
    r'plugin \\?"(?P<name>[^"\\]*)\\?" not allowed: policy set'
    r'|plugin path \\?"(?P<path>[^"\\]*)\\?" is not permitted by the credential plugin allowlist'
)
_WANTS_A_TERMINAL = "cannot support interactive mode"
_KUBECTLS = re.compile(r"memcache\.go:\d+\]|couldn't get current server API group list|getting credentials: ")
_BEFORE_THE_HINT = "#client-go-credential-plugins"  # ends kubectl's text before the kubeconfig's installHint


def plugin_trouble(lines: Sequence[str], kubectl: str) -> Problem | None:
    """What is wrong with the plugin; None if kubectl's last lines (oldest first, already redacted) are about something
    else. `kubectl` is the command for the same cluster in a terminal: there the plugin can prompt the user."""
    failed = next((found["why"] for line in reversed(lines) if (found := _FAILED.search(line))), None)
    if failed is None:
        return None
    in_terminal = f"Run this in a terminal, where it can ask you: {kubectl} get pods"
    if found := _NOT_INSTALLED.search(failed):
        name = found["name"] or found["path"]
        message = f"the kubeconfig's credential plugin {name} is not installed"
        return Problem(Cause.CREDENTIALS, message, _hint(lines) or "Install it, or fix its command in the kubeconfig")
    if _WANTS_A_TERMINAL in failed:
        message = "the kubeconfig's credential plugin wants to ask you something, and there is no terminal here"
        return Problem(Cause.CREDENTIALS, message, in_terminal)
    if found := _NOT_ALLOWED.search(failed):
        message = f"your kuberc does not allow the kubeconfig's credential plugin {found['path'] or found['name']}"
        return Problem(Cause.CREDENTIALS, message, "Add it to credentialPluginAllowlist there")
    if found := _EXIT_CODE.search(failed):
        own = dict.fromkeys(line.strip() for line in lines if line.strip() and not _KUBECTLS.search(line))
        said = " ".join(own) or found["code"]
        said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"
        name = found["name"].rpartition("/")[2]
        return Problem(Cause.CREDENTIALS, f"the kubeconfig's credential plugin {name} failed: {said}", in_terminal)
    return Problem(Cause.CREDENTIALS, f"the kubeconfig's credential plugin failed: {failed}", in_terminal)


def _hint(lines: Sequence[str]) -> str:
    """The kubeconfig's hint on how to install the plugin."""
    last = max((number for number, line in enumerate(lines) if _BEFORE_THE_HINT in line), default=len(lines))
    return " ".join(line.strip() for line in lines[last + 1 :] if line.strip())
