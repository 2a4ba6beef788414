"""Which names are asked for, listed and taken off the list again. The cluster and the forwards are played."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, cast

import pytest
import trio
import trio.testing

from kpf_supervise.config.contents import PROXIED, Proxy
from kpf_supervise.forwarding.client import Client
from kpf_supervise.instance.supervisor import Supervisor
from kpf_supervise.model import Cause, Cluster, Forward, ForwardError, Problem
from kpf_supervise.origin import Origin
from kpf_supervise.protocols.refusal import Refused, Why
from kpf_supervise.proxying import ways
from kpf_supervise.proxying.directory import Directory
from kpf_supervise.proxying.ways import Answers, Directly, ThroughForward

SERVICES = {"shop": ("web", "api"), "data": ("db",)}


@dataclass
class Instance:
    """In the place of the supervisor, its catalog and its questions."""

    asked: list[str] = field(default_factory=list)
    listed: dict[str, Forward] = field(default_factory=dict)
    lists: int = 0
    clients: list[Client] = field(default_factory=list)
    namespace: str = "shop"
    outages: list[trio.Event] = field(default_factory=list)  # each has ended once it is set
    troubled: bool = True  # the API server answers nobody, so that its outage is waited for
    calls: list[str] = field(default_factory=list)  # for a sign-in, one for each client

    @property
    def catalog(self) -> Instance:
        return self

    @property
    def api(self) -> Instance:
        return self

    @property
    def login(self) -> Instance:
        return self

    def call(self) -> None:
        self.calls.append(self.namespace)

    @property
    def watches(self) -> Instance:
        return self

    def outage(self, questions: Instance) -> Instance:
        return self

    async def over(self, problem: Problem) -> bool:
        if self.troubled:
            await self.outages[-1].wait()
        return self.troubled

    async def questions(self, cluster: Cluster, namespace: str | None) -> Instance:
        return replace(self, namespace=namespace or "shop")

    def path_of_all(self, kind: str) -> str:
        return f"{self.namespace}/{kind}"

    async def find(self, path: str) -> bytes:
        self.asked.append(path)
        await trio.sleep(1)
        if self.outages and not self.outages[-1].is_set():
            raise ForwardError(Problem(Cause.API_UNREACHABLE, "the API server does not answer"))
        namespace, _, service = path.split("/")
        if service not in SERVICES.get(namespace, ()):
            raise ForwardError(Problem(Cause.NO_SUCH_OBJECT, f"there is no service {service} in namespace {namespace}"))
        return json.dumps({"spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}}).encode()

    async def apply(self, wanted: Mapping[Origin, Iterable[Forward]]) -> None:
        await trio.sleep(0.1)
        assert list(wanted) == [Origin.PROXY]
        self.listed = {each.id: each for each in wanted[Origin.PROXY]}
        self.lists += 1

    def hand_over(self, id: str, client: Client) -> None:
        if id not in self.listed:
            raise ForwardError(Problem(Cause.OTHER, f"the forward {id} is stopped"))
        self.clients.append(client)


@asynccontextmanager
async def directory(**settings: Any) -> AsyncIterator[tuple[Directory, Instance]]:
    instance = Instance()
    found = Directory(Proxy(port=1080, **settings), cast(Supervisor, instance))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.run)
        yield found, instance
        nursery.cancel_scope.cancel()


async def refused(found: Directory, host: str, port: int = 80) -> Why:
    with pytest.raises(Refused) as caught:
        await found.find(host, port, "")
    return caught.value.why


async def test_a_name_is_asked_for_once_and_listed_once(autojump_clock: trio.testing.MockClock) -> None:
    async with directory() as (found, instance):
        for host in ("web", "web.shop", "web.shop.svc", "WEB.shop.svc.cluster.local."):
            with await found.find(host, 80, ""):
                assert list(instance.listed) == ["proxy/web.shop:80"]
        assert instance.asked == ["shop/services/web"]
        assert instance.lists == 1
        with await found.find("web.shop.localhost", None, ""):
            assert (len(instance.asked), instance.lists) == (2, 1), "which port that is has to be asked"
        for port in (80, 1080):
            with await found.find("web.shop.localhost.", port, ""):
                assert (len(instance.asked), instance.lists) == (2, 1)
        forward = instance.listed["proxy/web.shop:80"]
        assert (forward.local, forward.address, forward.namespace, forward.remote) == (1080, "localhost", "shop", 80)
        assert forward.lazy
        assert forward.proxied


async def test_many_who_ask_at_once_list_a_name_once(autojump_clock: trio.testing.MockClock) -> None:
    async with directory() as (found, instance), trio.open_nursery() as nursery:

        async def ask() -> None:
            with await found.find("web.shop", 80, ""):
                await trio.sleep(1)

        for _ in range(50):
            nursery.start_soon(ask)
    assert instance.lists == 1


async def test_a_name_leaves_the_list_after_its_quiet_time(autojump_clock: trio.testing.MockClock) -> None:
    async with directory(template=replace(PROXIED, idle_timeout=60.0)) as (found, instance):
        with await found.find("web.shop", 80, "") as way:
            upstream = await way.connect()
        await trio.sleep(1000)
        assert list(instance.listed) == ["proxy/web.shop:80"], "a connection goes through it"
        instance.clients[0].manners.ended()
        await trio.sleep(50)
        with await found.find("api.shop", 80, ""):
            pass
        assert len(instance.listed) == 2
        await trio.sleep(20)
        assert list(instance.listed) == ["proxy/api.shop:80"]
        await trio.sleep(60)
        assert instance.listed == {}
        with await found.find("web.shop", 80, ""):
            assert list(instance.listed) == ["proxy/web.shop:80"]
        await upstream.aclose()
        await trio.aclose_forcefully(instance.clients[0].stream)


async def test_new_settings_keep_what_they_allow_and_its_users(autojump_clock: trio.testing.MockClock) -> None:
    async with directory() as (found, instance):
        with await found.find("web.shop", 80, ""), await found.find("db.data", 80, ""):
            template = replace(PROXIED, hold=1.0, idle_timeout=60.0)
            await found.change(Proxy(port=1080, namespaces=("shop",), template=template))
            assert {id: each.hold for id, each in instance.listed.items()} == {"proxy/web.shop:80": 1.0}
            assert await refused(found, "db.data") is Why.DENIED
            await trio.sleep(100)
        assert list(instance.listed) == ["proxy/web.shop:80"]
        await trio.sleep(100)
        assert instance.listed == {}, "it has no users any more"
        with await found.find("web.shop", 80, ""):
            elsewhere = replace(PROXIED, cluster=Cluster(context="other"))
            await found.change(Proxy(port=1080, template=elsewhere))
            assert instance.listed == {}, "it was one of another cluster"
        await found.clear()


async def test_a_name_that_is_stopped_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    async with directory() as (found, instance):
        with await found.find("web.shop", 80, "") as way:
            instance.listed.clear()
            with pytest.raises(Refused, match=r"proxy/web\.shop:80 is stopped"):
                await way.connect()


async def test_a_name_that_is_asked_for_during_an_outage_is_held(autojump_clock: trio.testing.MockClock) -> None:
    template = replace(PROXIED, hold=30.0)
    async with directory(template=template) as (found, instance), trio.open_nursery() as nursery:
        instance.outages.append(trio.Event())

        async def recover() -> None:
            await trio.sleep(20)
            instance.outages[-1].set()

        nursery.start_soon(recover)
        with await found.find("web.shop", 80, ""):
            assert trio.current_time() == pytest.approx(21.1), "asked again as soon as it answers"
        instance.outages.append(trio.Event())
        begun = trio.current_time()
        with await found.find("web.shop", 80, ""):
            assert trio.current_time() == begun, "it is known, so its forward holds the client"
        with pytest.raises(Refused, match=r"^the API server does not answer\.$") as caught:
            await found.find("db.data", 80, "")
        assert caught.value.why is Why.NOT_IN_TIME
        assert trio.current_time() == begun + 30
        await found.change(Proxy(port=1080, template=replace(PROXIED, hold=0.0)))
        assert await refused(found, "db.data") is Why.NOT_IN_TIME
        assert trio.current_time() == pytest.approx(begun + 31.1), "not held, but asked for"


async def test_a_question_that_alone_fails_is_asked_again_with_growing_pauses(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with directory(template=replace(PROXIED, hold=30.0)) as (found, instance):
        instance.outages.append(trio.Event())
        instance.troubled = False
        assert await refused(found, "web.shop") is Why.NOT_IN_TIME
        assert trio.current_time() == 30
        assert 8 < len(instance.asked) < 15
        assert instance.calls == ["shop"], "a new client may begin a sign-in that has failed"


async def test_the_name_that_is_idle_for_longest_makes_room_for_another(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kpf_supervise.proxying.directory.MOST", 2)
    async with directory(template=replace(PROXIED, idle_timeout=None, hold=30.0)) as (found, instance):
        for host in ("db.data", "web.shop", "db.data"):
            with await found.find(host, 80, ""):
                await trio.sleep(1)
        with await found.find("web.shop", 80, ""):
            with await found.find("api.shop", 80, ""):
                assert list(instance.listed) == ["proxy/web.shop:80", "proxy/api.shop:80"], "web is in use"
                begun = trio.current_time()
                assert await refused(found, "db.data") is Why.NOT_IN_TIME
                assert trio.current_time() == begun + 30, "held until one of them is idle"
            async with trio.open_nursery() as nursery:

                async def leave() -> None:
                    with await found.find("api.shop", 80, ""):
                        await trio.sleep(10)

                nursery.start_soon(leave)
                await trio.testing.wait_all_tasks_blocked()
                with await found.find("db.data", 80, ""):
                    assert list(instance.listed) == ["proxy/web.shop:80", "proxy/db.data:80"]


async def test_other_hosts_are_refused_or_reached_directly(autojump_clock: trio.testing.MockClock) -> None:
    async with directory() as (found, instance):
        for host in ("example.com", "www.example.com", "a.b.c.d"):
            assert await refused(found, host) is Why.NO_SUCH_NAME
        assert await refused(found, "192.0.2.1") is Why.ADDRESS
        assert instance.asked == ["com/services/example", "com/services/example"]
        await found.change(Proxy(port=1080, direct=True))
        for host in ("example.com", "a.b.c.d", "192.0.2.1"):
            assert isinstance(await found.find(host, 443, ""), Directly)
        assert isinstance(await found.find("web.shop", 80, ""), ThroughForward)
        for host in ("nosuch.shop.svc", "nosuch.shop.svc.cluster.local", "nosuch.localhost"):
            assert await refused(found, host) is Why.NO_SUCH_NAME, "it can only be meant as one of the cluster"
        instance.outages.append(trio.Event())
        assert await refused(found, "example.com") is Why.NOT_IN_TIME, "it may be the cluster's"
        instance.outages[-1].set()
        asked = len(instance.asked)
        await found.change(Proxy(port=1080, direct=True, namespaces=("shop",)))
        assert isinstance(await found.find("example.com", 443, ""), Directly)
        assert len(instance.asked) == asked, "not of its namespaces: not asked for"


async def test_what_is_reached_directly_is_relayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "_may_be_reached", lambda address: True)

    async def upper(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(bytes(data).upper())

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, upper, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        ours, theirs = map(trio.SocketStream, trio.socket.socketpair())
        answers = Answers(opened=b"open ", refused=lambda refused: b"")
        nursery.start_soon(Directly("127.0.0.1", port).tunnel, theirs, b"first ", answers)
        await ours.send_all(b"second")
        await ours.send_eof()
        assert b"".join([bytes(data) async for data in ours]) == b"open FIRST SECOND"
        nursery.cancel_scope.cancel()
    with pytest.raises(Refused) as caught:
        await Directly("127.0.0.1", port).connect()
    assert caught.value.why is Why.UNAVAILABLE
    await trio.aclose_forcefully(theirs)
    await trio.aclose_forcefully(ours)
