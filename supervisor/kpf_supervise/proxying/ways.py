"""How the proxy reaches what a client has asked for: through a forward, or directly."""

from __future__ import annotations

import select
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import SOCK_STREAM, gaierror

import trio

from kpf_supervise.forwarding.client import Client, Manners
from kpf_supervise.model import ForwardError, Problem
from kpf_supervise.protocols.refusal import Refused, Why, from_problem
from kpf_supervise.text import quote

_CONNECTING = 10.0  # seconds for a direct connection
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


@dataclass(slots=True)
class Upstream:
    """A connection to the pod, or to another host. It may have to wait for its pod; if it ends then, `refused` says
    why."""

    stream: trio.SocketStream
    refused: Refused | None = None

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self.stream)

    def is_quiet(self) -> bool:
        """Whether nothing has come, not even the end: an idle connection is used again only then."""
        poll = select.poll()
        poll.register(self.stream.socket, select.POLLIN)
        return not poll.poll(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a client is told when its tunnel is open, or why it is not."""

    opened: bytes
    refused: Callable[[Refused], bytes]


class Way(ABC):
    """Use it as a context manager: what it leads to stays listed meanwhile."""

    def __enter__(self) -> Way:
        return self

    def __exit__(self, *_: object) -> None:
        return

    @abstractmethod
    async def connect(self) -> Upstream:
        """A new connection for requests. Raises Refused."""

    @abstractmethod
    async def tunnel(self, stream: trio.SocketStream, rest: bytes, answers: Answers) -> None:
        """Connect a client for bytes of any protocol; `rest` is what it has sent already. Raises Refused if it was told
        nothing yet. The caller closes `stream` afterwards."""


@dataclass(slots=True)
class ThroughForward(Way):
    """Its forward holds the client while no pod is ready. `hand_over` raises ForwardError; `use` and `leave` count who
    uses the forward."""

    peer: str
    hand_over: Callable[[Client], None]
    use: Callable[[], None]
    leave: Callable[[], None]

    def __enter__(self) -> Way:
        self.use()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    async def connect(self) -> Upstream:
        """The forward gets one end of a socket pair: no second way through the network of this machine."""
        ours, theirs = trio.socket.socketpair()
        upstream = Upstream(trio.SocketStream(ours))

        def refused(problem: Problem) -> bytes:
            upstream.refused = from_problem(problem)
            return b""

        try:
            self._give(trio.SocketStream(theirs), b"", Manners(refused=refused, ended=self.leave))
        except Refused:
            ours.close()
            raise
        return upstream

    async def tunnel(self, stream: trio.SocketStream, rest: bytes, answers: Answers) -> None:
        """The forward gets the client's own connection. It says that it is open only when kubectl forwards to a ready
        pod: a client does more with an honest refusal than with a connection that ends without a byte."""

        def refused(problem: Problem) -> bytes:
            return answers.refused(from_problem(problem))

        manners = Manners(opened=answers.opened, refused=refused, ended=self.leave)
        self._give(trio.SocketStream(stream.socket.dup()), rest, manners)

    def _give(self, stream: trio.SocketStream, head: bytes, manners: Manners) -> None:
        """Raises Refused; the stream is closed then."""
        self.use()
        try:
            self.hand_over(Client(stream, self.peer, head, manners))
        except ForwardError as trouble:
            stream.socket.close()
            self.leave()
            raise from_problem(trouble.problem) from None


@dataclass(slots=True)
class Directly(Way):
    """To a host that is no name of the cluster. What only this machine is meant to reach stays out of reach: its own
    loopback, with the proxy itself, and link-local addresses, such as that of a cloud's metadata. A page in a browser
    could reach neither by itself in the name of another host."""

    host: str
    port: int

    async def connect(self) -> Upstream:
        last: OSError | None = None
        with trio.move_on_after(_CONNECTING):
            for family, address in await self._addresses():
                attempt = trio.socket.socket(family, SOCK_STREAM)
                try:
                    await attempt.connect(address)
                except OSError as error:
                    attempt.close()
                    last = error
                except BaseException:
                    attempt.close()
                    raise
                else:
                    return Upstream(trio.SocketStream(attempt))
        where = f"{quote(self.host)}, port {self.port}"
        if last is None:
            raise Refused(Why.NOT_IN_TIME, f"{where} does not answer.")
        raise Refused(Why.UNAVAILABLE, f"{where} can't be reached: {last.strerror or last}.")

    async def _addresses(self) -> list[tuple[int, tuple[object, ...]]]:
        """Checked as they are connected to: a second look-up could give others. Raises Refused."""
        try:
            found = await trio.socket.getaddrinfo(self.host.strip("[]"), self.port, type=SOCK_STREAM)
        except (gaierror, UnicodeError):
            raise Refused(Why.NO_SUCH_NAME, f"there is no host {quote(self.host)}.") from None
        allowed: list[tuple[int, tuple[object, ...]]] = []
        allowed += ((family, at) for family, _, _, _, at in found if _may_be_reached(str(at[0])))
        if not allowed:
            raise Refused(
                Why.ADDRESS, f"{quote(self.host)} is on this machine or its link, and is not reached directly."
            )
        return allowed

    async def tunnel(self, stream: trio.SocketStream, rest: bytes, answers: Answers) -> None:
        upstream = await self.connect()
        try:
            with suppress(*_GONE):
                await stream.send_all(answers.opened)
                await relay(stream, upstream.stream, rest)
        finally:
            await upstream.aclose()


def _may_be_reached(address: str) -> bool:
    ip: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return not (ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast)


async def relay(
    client: trio.SocketStream, upstream: trio.SocketStream, to_upstream: bytes = b"", to_client: bytes = b""
) -> None:
    """Copy bytes both ways, after those given, until both have ended, or one of them is broken."""

    async def copy(source: trio.SocketStream, sink: trio.SocketStream, first: bytes) -> None:
        try:
            await sink.send_all(first)
            async for data in source:
                await sink.send_all(data)
            await sink.send_eof()
        except _GONE:
            both.cancel_scope.cancel()

    async with trio.open_nursery() as both:
        both.start_soon(partial(copy, client, upstream, to_upstream))
        both.start_soon(partial(copy, upstream, client, to_client))
