"""Signing in over the control socket: which users there are, and one sign-in, here or on the caller's own terminal."""

from __future__ import annotations

import time
from typing import Any

from kpf_supervise.control.jsonrpc import INVALID_PARAMS, NOT_DONE, Refusal
from kpf_supervise.sign_in.credential import BadAnswer, read_credential
from kpf_supervise.sign_in.login import Login
from kpf_supervise.sign_in.logins import Logins
from kpf_supervise.text import quote


def listed(logins: Logins) -> list[dict[str, Any]]:
    """Those that sign in with a credential plugin that we run."""
    return [
        {
            "context": each.label,
            "plugin": each.plugin.name if each.plugin is not None else None,
            "error": str(each.problem) if each.problem is not None else None,
        }
        for each in logins.of_context(None)
    ]


async def sign_in(
    logins: Logins, context: str, terminal: bool = False, credential: str | None = None
) -> dict[str, Any] | None:
    """Sign in anew for a context; returns None once that is done. `terminal`: the caller can run the plugin on a
    terminal; where it needs one, returns how it is run, and the caller calls again with its output as `credential`.
    Raises Refusal, or ForwardError if it failed."""
    found = logins.of_context(context)
    if not found:
        known = ", ".join(each.label for each in logins.of_context(None)) or "none"
        raise Refusal(NOT_DONE, f"no forward signs in to {quote(context)} with a credential plugin. There is: {known}")
    for login in found:
        if credential is not None:
            _take(login, credential)
        elif terminal and login.wants_terminal:
            command, variables, info = await login.facts()
            return {"command": command, "env": variables, "info": info}
        else:
            await login.again()
    return None


def _take(login: Login, credential: str) -> None:
    assert login.plugin is not None
    try:
        login.take(read_credential(credential.encode(errors="replace"), login.plugin.version, time.time()))
    except BadAnswer as error:
        raise Refusal(INVALID_PARAMS, f"credential: the plugin {login.plugin.name} gave none: {error}") from None
