"""The local ports that clients connect to: bound once, before any kubectl starts, and kept."""

from __future__ import annotations

import errno
import math
import socket
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

import trio

from kpf_supervise.forwarding.client import Client
from kpf_supervise.model import Cause, Forward, ForwardError, Problem
from kpf_supervise.text import redact

if TYPE_CHECKING:
    import psutil

_BACKLOG = 1024  # connections that the kernel queues; the default of 128 loses some when hundreds come at once
_AGAIN = 0.02  # seconds until a port is tried again that should be free
_ANY = frozenset({"0.0.0.0", "::"})
_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)


class Inbox:
    """Clients that another listener has accepted. They wait here until the `forward` of this id takes them."""

    def __init__(
        self,
        forward: str,
        send: trio.MemorySendChannel[Client] | None = None,
        receive: trio.MemoryReceiveChannel[Client] | None = None,
    ) -> None:
        if send is None or receive is None:
            send, receive = trio.open_memory_channel[Client](math.inf)
        self.forward, self.send, self.receive = forward, send, receive

    def duplicate(self) -> Inbox:
        return Inbox(self.forward, self.send.clone(), self.receive.clone())

    def __enter__(self) -> trio.MemoryReceiveChannel[Client]:
        return self.receive

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The last one closes the connections that nobody has taken."""
        self.send.close()
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while self.receive.statistics().open_receive_channels == 1:
                client = self.receive.receive_nowait()
                client.dismiss(self.forward)
                client.stream.socket.close()
                client.manners.ended()
        self.receive.close()


@dataclass(frozen=True, slots=True)
class Listening:
    """The sockets of one forward, all on one port number; or, for a forward behind the proxy, its inbox."""

    port: int
    sockets: tuple[socket.socket, ...]
    inbox: Inbox | None = None

    def duplicate(self) -> Listening:
        """Duplicates of the sockets. Connections queued on a socket stay on its duplicate when the socket closes."""
        sockets = tuple(each.dup() for each in self.sockets)
        return Listening(self.port, sockets, self.inbox.duplicate() if self.inbox else None)

    def listeners(self) -> list[trio.SocketListener]:
        """Close these to close the sockets."""
        return [trio.SocketListener(trio.socket.from_stdlib_socket(each)) for each in self.sockets]

    def close(self) -> None:
        for each in self.sockets:
            each.close()
        if self.inbox is not None:
            self.inbox.close()


class Fix(NamedTuple):
    """What the user can do where a local port can't be bound."""

    taken: str
    privileged: str


OF_A_FORWARD = Fix("choose another local port", "Give the forward a local port above 1023, for example {}")
OF_SERVICES = Fix(
    "write address: each (each service gets an address of its own), local: free or local: +10000 under services",
    "Write local: +10000 or local: free under services",
)


class Processes:
    """The processes that listen, looked up once: that takes up to a second on a busy machine."""

    def __init__(self) -> None:
        self._holders: dict[int, str] | None = None

    async def holder(self, port: int) -> str:
        """The process that listens on a port: "pid 4711 (python3 -m http.server)", or "" if it is not visible."""
        if self._holders is None:
            self._holders = await trio.to_thread.run_sync(_holders, abandon_on_cancel=True)
        return self._holders.get(port, "")


def hosts(address: str) -> tuple[str, ...]:
    """The IP addresses of a forward's `address`."""
    return ("127.0.0.1", "::1") if address == "localhost" else (address,)


def shown(address: str, port: int) -> str:
    """HOST:PORT, for people."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def overlap(one: str, other: str) -> bool:
    """Whether two forwards with these `address` can't listen on the same port."""
    return any(
        ours == theirs or ((":" in ours) == (":" in theirs) and not _ANY.isdisjoint((ours, theirs)))
        for ours in hosts(one)
        for theirs in hosts(other)
    )


async def bind(
    forward: Forward,
    holder: str = "",
    processes: Processes | None = None,
    fix: Fix = OF_A_FORWARD,
    passing: bool = False,
) -> Listening:
    """Bind every address of a forward. Raises ForwardError (LOCAL_PORT), which names the port and its holder: the
    forward `holder` of ours, or the process if it is visible. Nothing is left bound then. `passing`: a port that is in
    use may be free in a moment."""
    if forward.proxied:
        assert forward.local is not None
        return Listening(forward.local, (), Inbox(forward.id))
    for attempt in range(20):
        port = forward.local or (0 if attempt else forward.prefers or 0)
        bound: list[socket.socket] = []
        try:
            for host in hosts(forward.address):
                try:
                    bound.append(_bind(host, port))
                except OSError as error:
                    if not (host == "::1" and bound and error.errno in _NO_IPV6):
                        raise
                port = bound[0].getsockname()[1]
        except OSError as error:
            for each in bound:
                each.close()
            if forward.local is None and error.errno == errno.EADDRINUSE and attempt < 19:
                continue  # free for the first family, taken for the second: let the kernel choose again
            if passing and error.errno == errno.EADDRINUSE and attempt < 19:
                await trio.sleep(_AGAIN)
                continue
            raise ForwardError(await _explain(error, host, port, holder, processes or Processes(), fix)) from error
        return Listening(port, tuple(bound))
    raise AssertionError("the loop returns or raises")


async def check_free(forward: Forward, processes: Processes, fix: Fix = OF_A_FORWARD) -> None:
    """Raises the ForwardError that `bind` would raise now. Nobody can connect meanwhile, and nothing is left bound."""
    if forward.local is not None and (found := taken(forward.address, forward.local)) is not None:
        raise ForwardError(await _explain(found.error, found.host, forward.local, "", processes, fix)) from found.error


class Taken(NamedTuple):
    host: str  # an IP address
    error: OSError


def taken(address: str, port: int) -> Taken | None:
    """Why nothing can listen there now; None if something can."""
    for host in hosts(address):
        try:
            _bind(host, port, listen=False).close()
        except OSError as error:
            if not (host == "::1" and error.errno in _NO_IPV6):
                return Taken(host, error)
    return None


def _bind(host: str, port: int, listen: bool = True) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    each = socket.socket(family, socket.SOCK_STREAM)
    try:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        each.bind((host, port))
        if listen:
            each.listen(_BACKLOG)
        each.setblocking(False)
    except BaseException:
        each.close()
        raise
    return each


def in_use(port: int, holder: str, fix: Fix = OF_A_FORWARD) -> Problem:
    """By the forward `holder`."""
    return Problem(
        Cause.LOCAL_PORT,
        f"local port {port} is already in use by the forward {holder}",
        f"Stop that one, or {fix.taken}",
    )


async def _explain(error: OSError, host: str, port: int, ours: str, processes: Processes, fix: Fix) -> Problem:
    where = f"port {port} on {host}"
    match error.errno:
        case errno.EADDRINUSE if ours:
            return in_use(port, ours, fix)
        case errno.EADDRINUSE:
            holder = await processes.holder(port)
            return Problem(
                Cause.LOCAL_PORT,
                f"{where} is already in use{f' by {holder}' if holder else ''}",
                f"Stop that program, or {fix.taken}",
            )
        case errno.EACCES | errno.EPERM:
            return Problem(
                Cause.LOCAL_PORT,
                f"{where} is privileged: only root may listen on it",
                fix.privileged.format(port + 8000),
            )
        case errno.EADDRNOTAVAIL if ip_address(host).is_loopback:  # on Linux, all of 127.0.0.0/8 is there
            return Problem(
                Cause.LOCAL_PORT,
                f"this machine has no address {host} yet",
                f"Add it with: sudo ifconfig lo0 alias {host} up (again after each restart of the machine)",
            )
        case errno.EADDRNOTAVAIL:
            return Problem(Cause.LOCAL_PORT, f"this machine has no address {host}", "Fix address:, or leave it out")
        case _:
            return Problem(Cause.LOCAL_PORT, f"cannot listen on {where}: {error.strerror or error}")


def _holders() -> dict[int, str]:
    """By port, the process that listens on it, as far as it is visible.

    Its command is shown up to the first option, without credentials: the rest may contain a secret.
    """
    import psutil  # slow to import and rarely needed

    found: dict[int, str] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            for each in process.net_connections(kind="tcp"):
                if each.status == psutil.CONN_LISTEN and each.laddr.port not in found:
                    found[each.laddr.port] = f"pid {process.pid} ({_command(process)})"
    return found


def _command(process: psutil.Process) -> str:
    words = process.cmdline() or [process.name()]
    shown = [words[0].rpartition("/")[2]]
    for word in words[1:]:
        if word.startswith("-") and word != "-m":
            break
        shown.append(word)
    return redact(" ".join(shown))[:80]
