"""What a cluster has to forward to, for somebody who types a command line while no instance needs to run.

Somebody has pressed Tab: the answer comes soon or not at all, and nobody is asked to sign in for it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio

from kpf_supervise.control.client import Client, NoAnswer, Refused, running
from kpf_supervise.control.cluster_methods import answer
from kpf_supervise.control.jsonrpc import Refusal
from kpf_supervise.control.methods import arguments
from kpf_supervise.discovery.catalog import Catalog
from kpf_supervise.events.board import Board
from kpf_supervise.kubectl.contexts import Contexts
from kpf_supervise.kubectl.orphan_guard import open_orphan_guard
from kpf_supervise.model import TEMPLATE, Cluster, ForwardError
from kpf_supervise.runtime.socket_folder import socket_folder
from kpf_supervise.sign_in.logins import Logins
from kpf_supervise.watching.watches import Watches

_PATIENCE = 2.0  # seconds


def ask(binary: str, method: str, params: dict[str, str]) -> list[Any]:
    """The result of `contexts`, `namespaces`, `targets` or `ports`, with the parameters that the control socket has for
    it; empty if it is not known soon. `binary` is the kubectl. Where the user signs in with a plugin, an instance that
    has signed in is asked, or nobody: the plugin might open a window."""
    try:
        values = arguments(method, params)
    except Refusal:
        return []
    found = trio.run(_ask, binary, method, values)
    return found if isinstance(found, list) else _ask_instances(method, params | {"context": found})


async def _ask(binary: str, method: str, values: dict[str, Any]) -> list[Any] | str:
    """What the cluster answers; or the name of the context, if only a plugin gives the credential for it."""
    found: list[Any] | str = []
    board = Board()
    try:
        with trio.move_on_after(_PATIENCE):
            async with open_orphan_guard() as guard, trio.open_nursery() as nursery:
                contexts = Contexts(binary, guard, board.notice)
                logins = Logins(contexts, guard, nursery, socket_folder, board.notice, board.bug, False)
                catalog = Catalog(contexts, Watches(contexts, guard, nursery, board, socket_folder, logins))
                plugged = "" if method == "contexts" else await _plugged(contexts, values)
                found = plugged or await answer(method, catalog, TEMPLATE, **values)
                nursery.cancel_scope.cancel()
    except* (ForwardError, OSError):
        pass
    return found


async def _plugged(contexts: Contexts, values: dict[str, Any]) -> str:
    """The name of the context, if only a plugin gives the credential for it. Raises ForwardError."""
    resolved = await contexts.of(Cluster(values.get("kubeconfig"), values.get("context")))
    plugin = resolved.entry.get("exec") or resolved.entry.get("auth-provider")
    return (resolved.cluster.context or "") if plugin else ""


def _ask_instances(method: str, params: dict[str, str]) -> list[Any]:
    """The answer of an instance that has a tunnel in this context, and so a credential."""
    with suppress(NoAnswer):
        for path in running():
            with suppress(NoAnswer, Refused), Client(path, _PATIENCE) as client:
                forwards = client.call("portforward:list")
                if any(each["active"] and each["context"] == params["context"] for each in forwards):
                    found: list[Any] = client.call(method, **params)
                    return found
    return []
