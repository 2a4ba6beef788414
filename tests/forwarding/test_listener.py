"""Local ports: bound on both loopbacks, and clear words where they can't be."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest
import trio
import trio.testing

from kpf_supervise.forwarding import listener as module
from kpf_supervise.forwarding.client import Client, Manners
from kpf_supervise.forwarding.listener import Listening, bind
from kpf_supervise.model import Cause, Forward, ForwardError, Target


def forward(**changes: Any) -> Forward:
    return Forward(id="web", target=Target("pod", "web"), remote=80, **changes)


def held_port(host: str = "127.0.0.1") -> socket.socket:
    holder = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    holder.bind((host, 0))
    holder.listen()
    return holder


async def close(listening: Listening) -> None:
    for listener in listening.listeners():
        await listener.aclose()


async def test_localhost_is_both_loopbacks_on_one_port() -> None:
    listening = await bind(forward())
    hosts = {each.getsockname()[:2] for each in listening.sockets}
    assert hosts == {("127.0.0.1", listening.port), ("::1", listening.port)}
    await close(listening)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_taken_port_names_the_port_and_its_holder_and_leaves_nothing_bound(host: str) -> None:
    with held_port(host) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(ForwardError) as caught:
            await bind(forward(local=port))
    problem = caught.value.problem
    assert problem.cause is Cause.LOCAL_PORT
    assert f"port {port} on {host} is already in use by pid {os.getpid()} (" in problem.message
    assert "another local port" in problem.next_step
    await close(await bind(forward(local=port)))


async def test_the_search_for_the_holder_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    found = threading.Event()
    with held_port() as holder:
        port = holder.getsockname()[1]
        monkeypatch.setattr(module, "_holders", lambda: {port: "pid 1 (it)"} if found.wait(20) else {})
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(ForwardError, match=r"already in use by pid 1 \(it\)"):
                    await bind(forward(local=port))

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            found.set()


async def test_one_address_alone() -> None:
    listening = await bind(forward(address="127.0.0.1"))
    with held_port("::1"):
        assert [each.getsockname()[0] for each in listening.sockets] == ["127.0.0.1"]
    await close(listening)


async def test_an_address_of_another_machine() -> None:
    with pytest.raises(ForwardError) as caught:
        await bind(forward(address="192.0.2.1", local=8080))
    assert "this machine has no address 192.0.2.1" in str(caught.value)


async def test_an_address_of_the_loopback_interface_that_macos_has_only_as_an_alias(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Linux has all of 127.0.0.0/8, so the kernel's answer is played."""
    await close(await bind(forward(address="127.9.8.7")))

    def refuse(*_: Any) -> None:
        raise OSError(errno.EADDRNOTAVAIL, "Can't assign requested address")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ForwardError, match=r"sudo ifconfig lo0 alias 127\.0\.0\.2 up"):
        await bind(forward(address="127.0.0.2"))


async def test_a_port_that_is_released_in_a_moment_is_waited_for() -> None:
    """A process that is being started has our sockets until its exec."""
    with held_port() as holder:
        port = holder.getsockname()[1]
        bound: list[Listening] = []

        async def take() -> None:
            bound.append(await bind(forward(local=port, address="127.0.0.1"), passing=True))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await trio.testing.wait_all_tasks_blocked()
            assert bound == []
            holder.close()
    await close(*bound)


async def test_a_free_port_is_the_preferred_one_if_that_is_free() -> None:
    with held_port() as holder:
        taken = holder.getsockname()[1]
        listening = await bind(forward(prefers=taken))
        assert listening.port != taken
    await close(listening)
    listening = await bind(forward(prefers=taken))
    assert listening.port == taken
    await close(listening)


async def test_a_privileged_port_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, to whom no port is privileged, so the kernel's answer is played."""

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ForwardError) as caught:
        await bind(forward(local=80))
    assert "port 80 on 127.0.0.1 is privileged" in str(caught.value)
    assert "8080" in caught.value.problem.next_step


async def test_the_holders_options_are_not_shown() -> None:
    script = "import socket,sys; s=socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1]); sys.stdin.read()"
    words = [sys.executable, "-c", script, "--password=geheim"]
    process = await trio.lowlevel.open_process(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    async with process.stdin, process.stdout:
        port = int(await process.stdout.receive_some(100))
        with pytest.raises(ForwardError) as caught:
            await bind(forward(local=port))
    await process.wait()
    assert f"pid {process.pid} (python" in str(caught.value)
    assert "geheim" not in str(caught.value)


async def test_a_forward_behind_the_proxy_has_an_inbox_in_place_of_a_port() -> None:
    """Clients wait in it while the forward is started again; the last one to close it tells them why, and closes those
    connections."""
    ended: list[str] = []

    def client(name: str) -> tuple[trio.SocketStream, Client]:
        ours, theirs = map(trio.SocketStream, trio.socket.socketpair())
        manners = Manners(refused=lambda problem: str(problem).encode(), ended=lambda: ended.append(name))
        return ours, Client(theirs, name, manners=manners)

    first = await bind(forward(local=1, proxied=True))
    assert (first.port, first.sockets) == (1, ())
    assert first.inbox is not None
    second = first.duplicate()
    assert second.inbox is not None
    users = dict(map(client, ("a", "b")))
    for each in users.values():
        first.inbox.send.send_nowait(each)
    first.close()
    assert ended == []
    taken = await second.inbox.receive.receive()
    second.close()
    assert ended == ["b"]
    (kept, closed) = users
    assert await closed.receive_some() == b"the forward web has ended while it held the connection"
    assert await closed.receive_some() == b""
    await trio.aclose_forcefully(taken.stream)
    for user in (kept, closed):
        await trio.aclose_forcefully(user)
