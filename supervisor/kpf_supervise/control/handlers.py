"""The operations on a running instance. The control socket and the panel know only these, and nothing behind them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kpf_supervise import __version__
from kpf_supervise.config.errors import ConfigError
from kpf_supervise.config.words import forward_name
from kpf_supervise.control import cluster_methods, logins
from kpf_supervise.control.jsonrpc import INVALID_PARAMS, NO_SUCH_FORWARD, NOT_DONE, Refusal
from kpf_supervise.control.methods import arguments, no_such_forward, target_of
from kpf_supervise.events import serialize
from kpf_supervise.events.board import Board
from kpf_supervise.instance.desired_state import DesiredState
from kpf_supervise.instance.supervisor import Supervisor
from kpf_supervise.model import ForwardError
from kpf_supervise.text import quote


@dataclass(frozen=True, slots=True)
class Handlers:
    """The methods of the control socket."""

    supervisor: Supervisor
    board: Board
    desired: DesiredState
    shutdown: Callable[[], None]

    async def call(self, method: str, params: dict[str, Any]) -> Any:
        """Carry out a call and return its result. Raises Refusal."""
        values = arguments(method, params)
        try:
            match method:
                case "portforward:start":
                    return await self._start(**values)
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
        if isinstance(remote_port, str) and resource_type != "service" and len(remote_port) > 15:
            raise Refusal(INVALID_PARAMS, f"remote_port: {quote(remote_port)} is too long for a container's port name")
        forward = replace(
            template,
            id=id or self._free_id(name),
            target=target_of(resource_type, name),
            local=local_port or None,
            remote=remote_port,
            cluster=cluster_methods.cluster_of(template, kubeconfig, context),
            **others,
        )
        await self.supervisor.start(forward)
        self.desired.save()
        return forward.id

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
