"""The operations on a running instance. The control socket and the panel know only these, and nothing behind them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from kpf_supervise import __version__
from kpf_supervise.config.errors import ConfigError
from kpf_supervise.config.words import forward_name
from kpf_supervise.control import cluster_methods, logins
from kpf_supervise.control.jsonrpc import ENDING, NO_SUCH_FORWARD, NOT_DONE, Refusal
from kpf_supervise.control.methods import arguments, no_such_forward, target_of
from kpf_supervise.events import serialize
from kpf_supervise.events.board import Board
from kpf_supervise.instance.desired_state import DesiredState
from kpf_supervise.instance.sharing import Ending, Sharing
from kpf_supervise.instance.supervisor import Supervisor
from kpf_supervise.model import Cluster, ForwardError

_LEASE = 30 * 60.0  # seconds
_PATIENCE = 30.0  # seconds until a forward must be active


@dataclass(frozen=True, slots=True)
class Handlers:
    """The methods of the control socket."""

    supervisor: Supervisor
    board: Board
    desired: DesiredState
    shutdown: Callable[[], None]
    sharing: Sharing

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        """Carry out a call and return its result. Raises Refusal."""
        values = arguments(method, params)
        try:
            match method:
                case "portforward:start":
                    return await self._start(**values)
                case "portforward:ensure":
                    return await self._ensure(**values)
                case "portforward:stop":
                    return await self._stop([self._known(values["id"])])
                case "portforward:list" | "subscribe":
                    return [serialize.port_forward(status) for status in self.board.statuses.values()]
                case "stop_all":
                    return await self._stop(list(self.board.statuses))
                case "restart":
                    await self.supervisor.restart(self._known(values["id"]))
                    return self.desired.save()
                case "reload":
                    return await self.desired.reload()
                case "logins":
                    return logins.listed(self.supervisor.logins)
                case "login":
                    return await logins.sign_in(self.supervisor.logins, **values)
                case "shutdown":
                    return self.shutdown()
                case "logs":
                    return [serialize.event(event) for event in self.board.statuses[self._known(values["id"])].log]
                case "events":
                    return [serialize.event(event) for event in self.board.history]
                case "info":
                    return self._info()
                case "describe":
                    status = self.board.statuses[self._known(values["id"])]
                    return serialize.description(status, self.desired.template())
                case "contexts" | "namespaces" | "targets" | "ports":
                    template = self.desired.template()
                    return await cluster_methods.answer(method, self.supervisor.catalog, template, **values)
        except ForwardError as trouble:
            raise Refusal(NOT_DONE, str(trouble.problem), cause=trouble.problem.cause) from None
        except Ending:
            raise Refusal(ENDING, "this instance is ending: ask another one") from None
        except ConfigError as error:
            raise Refusal(NOT_DONE, "\n".join(["the file is wrong; nothing has changed", str(error)])) from None
        raise AssertionError(f"{method} has parameters, and nothing that does it")

    async def _start(
        self,
        resource_type: str,
        name: str,
        local_port: int,
        remote_port: int | str,
        id: str | None = None,
        context: str | None = None,
        kubeconfig: Path | None = None,
        **others: Any,
    ) -> str:
        template = self.desired.template()
        forward = replace(
            template,
            id=id or self._free_id(name),
            target=target_of(resource_type, name, remote_port),
            local=local_port or None,
            remote=remote_port,
            cluster=cluster_methods.cluster_of(template, kubeconfig, context),
            **others,
        )
        await self.supervisor.start(forward)
        self.desired.save()
        return forward.id

    async def _ensure(
        self,
        resource_type: str,
        name: str,
        remote_port: int | str,
        local_port: int = 0,
        ttl: float = _LEASE,
        timeout: float = _PATIENCE,
        start: bool = True,
        namespace: str | None = None,
        context: str | None = None,
        kubeconfig: tuple[str, ...] = (),
    ) -> dict[str, Any] | None:
        template = self.desired.template()
        cluster: Cluster | None = cluster_methods.cluster_of(template, None, context)
        if kubeconfig:  # the caller's, and its defaults
            cluster = cluster_methods.cluster_in(kubeconfig, context, os.environ)
        else:
            namespace = namespace or template.namespace
        if cluster is None:
            if not start:
                return None
            raise Refusal(
                NOT_DONE,
                f"kubeconfig: this instance can't use a list of {len(kubeconfig)} files: it was started with another "
                "one in $KUBECONFIG. Name the one file that has the context",
            )
        wanted = replace(
            template,
            target=target_of(resource_type, name, remote_port),
            local=local_port or None,
            remote=remote_port,
            cluster=cluster,
            namespace=namespace,
            lazy=False,
        )
        shared = await self.sharing.ensure(wanted, partial(self._free_id, name), ttl, timeout, start)
        return serialize.port_forward(shared.status) | {"shared": shared.found} if shared is not None else None

    def _free_id(self, name: str) -> str:
        """The target's name, or the first of name-2, name-3 … that is not in use."""
        base = forward_name(name)
        number, found = 1, base
        while found in self.board.statuses:
            number += 1
            found = f"{base}-{number}"
        return found

    async def _stop(self, ids: list[str]) -> None:
        await self.supervisor.stop(ids)
        self.desired.save()

    def _known(self, id: str) -> str:
        """Return `id`. Raises Refusal if no forward has it."""
        if id in self.board.statuses:
            return id
        raise Refusal(NO_SUCH_FORWARD, no_such_forward(id, self.board.statuses))

    def _info(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "version": __version__,
            "config": str(self.desired.path.absolute()) if self.desired.path else None,
            "mistakes": self.desired.mistakes,  # in the file as it is now
            "proxy": {"address": proxy.address, "port": proxy.port} if (proxy := self.desired.proxy) else None,
            "metrics": {"address": metrics[0], "port": metrics[1]} if (metrics := self.desired.metrics) else None,
        }
