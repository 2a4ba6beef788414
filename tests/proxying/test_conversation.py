"""HTTP through the proxy, as a client sees it: what a pod does is played by a function."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h11
import pytest
import trio
import trio.testing

from kpf_supervise.protocols.http import OwnPage
from kpf_supervise.protocols.refusal import Refused, Why
from kpf_supervise.proxying.conversation import Conversation
from kpf_supervise.proxying.ways import Answers, Upstream, Way

Pod = Callable[[trio.SocketStream], Awaitable[None]]
GET = "GET http://web.shop/ HTTP/1.1\r\nHost: web.shop\r\n\r\n"


def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    one, other = trio.socket.socketpair()
    return trio.SocketStream(one), trio.SocketStream(other)


@dataclass
class Cluster(Way):
    """Hosts by name; each connection to one goes to the next of its pods, the last one serves all that follow."""

    nursery: trio.Nursery
    pods: dict[str, list[Pod]]
    found: list[str] = field(default_factory=list)
    connections: int = 0
    host: str = ""
    refused: Refused | None = None  # how held connections end

    async def find(self, host: str, port: int | None) -> Way:
        self.found.append(f"{host}:{port}")
        if host not in self.pods:
            raise Refused(Why.NO_SUCH_NAME, f"there is no service {host}.")
        self.host = host
        return self

    async def connect(self) -> Upstream:
        self.connections += 1
        ours, theirs = socket_pair()
        pods = self.pods[self.host]
        pod = pods.pop(0) if len(pods) > 1 else pods[0]

        async def serve() -> None:
            async with theirs:
                await pod(theirs)

        self.nursery.start_soon(serve)
        return Upstream(ours, self.refused)

    async def tunnel(self, stream: trio.SocketStream, rest: bytes, answers: Answers) -> None:
        await stream.send_all(answers.opened + b"rest: " + rest)


@dataclass
class Story:
    client: trio.SocketStream
    cluster: Cluster
    told: list[str]

    async def ask(self, text: str) -> h11.Response:
        """Send it, and read an answer without its body."""
        await self.client.send_all(text.encode())
        return await self.answer()

    async def answer(self, method: str = "GET") -> h11.Response:
        self.reader = h11.Connection(h11.CLIENT)
        self.reader.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        self.reader.send(h11.EndOfMessage())
        event = await self.event()
        assert isinstance(event, h11.Response), event
        return event

    async def event(self) -> object:
        while (event := self.reader.next_event()) is h11.NEED_DATA:
            self.reader.receive_data(await self.client.receive_some(10_000))
        return event

    async def body(self) -> tuple[str, list[tuple[bytes, bytes]]]:
        """With the trailers."""
        text = b""
        while isinstance(event := await self.event(), h11.Data):
            text += event.data
        assert isinstance(event, h11.EndOfMessage), event
        return text.decode(), list(event.headers)

    async def get(self, text: str = GET) -> str:
        """The body of the answer."""
        await self.ask(text)
        return (await self.body())[0]

    async def to_the_end(self) -> bytes:
        return b"".join([bytes(data) async for data in self.client])


@asynccontextmanager
async def talking(**pods: Pod | list[Pod]) -> AsyncIterator[Story]:
    """A conversation with a cluster of these hosts, `web` is web.shop."""
    told: list[str] = []

    async def own_page(page: OwnPage) -> tuple[str, str]:
        if page.path != "/":
            raise Refused(Why.NO_SUCH_NAME, "no such page.")
        return "text/plain", f"at {page.authority}\n"

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            ours, theirs = socket_pair()
            hosts = {f"{name}.shop": pod if isinstance(pod, list) else [pod] for name, pod in pods.items()}
            cluster = Cluster(nursery, hosts)

            async def serve() -> None:
                async with theirs:
                    conversation = Conversation(
                        theirs, b"", (("localhost",), 1080), cluster.find, own_page, lambda it: told.append(it.sentence)
                    )
                    await conversation.run(lambda: None)

            nursery.start_soon(serve)
            async with ours:
                yield Story(ours, cluster, told)
            nursery.cancel_scope.cancel()


async def head(stream: trio.SocketStream) -> bytes:
    """A request up to its empty line, with what came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await stream.receive_some(10_000)
        if not more:
            return data
        data += more
    return data


def says(text: str, then: bool = True) -> Pod:
    """Answers each request with this text; `then` whether it keeps the connection."""

    async def pod(stream: trio.SocketStream) -> None:
        while await head(stream):
            await stream.send_all(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
            if not then:
                return

    return pod


def answers(text: str) -> Pod:
    """Reads one head, sends these bytes and ends."""

    async def pod(stream: trio.SocketStream) -> None:
        await head(stream)
        await stream.send_all(text.encode())

    return pod


async def ends(stream: trio.SocketStream) -> None:
    """Without an answer."""
    await head(stream)


async def test_each_request_of_a_connection_goes_where_it_says() -> None:
    async with talking(web=says("web"), api=says("api")) as story:
        api = GET.replace("web.shop", "api.shop:8080")
        assert [await story.get(each) for each in (GET, api, GET, GET)] == ["web", "api", "web", "web"]
        assert story.cluster.found == ["web.shop:80", "api.shop:8080", "web.shop:80", "web.shop:80"]
        assert story.cluster.connections == 3, "two in a row share one"


async def test_a_request_that_may_not_be_sent_twice_goes_over_a_connection_of_its_own() -> None:
    async with talking(web=says("web")) as story:
        await story.get()
        post = GET.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n")
        assert await story.get(post) == "web"
        assert story.cluster.connections == 2


async def test_pipelined_requests_are_answered_in_turn() -> None:
    async with talking(web=says("web"), api=says("api")) as story:
        await story.client.send_all((GET + GET.replace("web.shop", "api.shop")).encode())
        bodies = b""
        while bodies.count(b"HTTP/1.1 200") < 2 or not bodies.endswith(b"api"):
            bodies += await story.client.receive_some(1000)
        assert bodies.index(b"web") < bodies.index(b"api")


async def test_a_safe_request_without_an_answer_is_sent_once_more() -> None:
    async with talking(web=[ends, says("second")]) as story:
        assert await story.get() == "second"
        assert story.cluster.connections == 2


async def test_and_not_a_third_time() -> None:
    async with talking(web=[ends, ends, says("third")]) as story:
        answer = await story.ask(GET)
        assert (answer.status_code, story.cluster.connections) == (502, 2)
        assert (await story.body())[0] == "the pod ended the connection without an answer.\n"
        assert await story.get() == "third", "the client's connection serves on"


async def test_another_request_is_never_sent_twice() -> None:
    async with talking(web=[ends, says("second")]) as story:
        answer = await story.ask(GET.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"))
        assert (answer.status_code, story.cluster.connections) == (502, 1)


async def test_a_kept_connection_that_the_pod_has_closed_costs_nothing() -> None:
    async with talking(web=[says("first", then=False), says("second")]) as story:
        assert await story.get() == "first"
        await trio.testing.wait_all_tasks_blocked()
        assert await story.get() == "second"


async def test_what_has_begun_is_never_sent_twice_and_breaks_off_visibly() -> None:
    half = answers("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    async with talking(web=[half, says("second")]) as story:
        await story.ask(GET)
        with pytest.raises(h11.RemoteProtocolError):
            await story.body()
        assert story.cluster.connections == 1


async def test_a_held_connection_that_is_let_go_says_why() -> None:
    async with talking(web=ends) as story:
        story.cluster.refused = Refused(Why.NOT_IN_TIME, "it has no ready pod.")
        answer = await story.ask(GET)
        assert answer.status_code == 504
        assert b"error=connection_timeout" in dict(answer.headers)[b"proxy-status"]
        assert (await story.body())[0] == "it has no ready pod.\n"
        assert story.cluster.connections == 1
        assert story.told == ["it has no ready pod."]


async def test_an_unknown_name_is_refused_and_the_connection_serves_on() -> None:
    async with talking(web=says("web")) as story:
        answer = await story.ask(GET.replace("web.shop", "nosuch.shop"))
        assert (answer.status_code, (await story.body())[0]) == (404, "there is no service nosuch.shop.\n")
        assert await story.get() == "web"
        assert await story.get("GET / HTTP/1.1\r\nHost: localhost:1080\r\n\r\n") == "at localhost:1080\n"


async def test_bodies_of_both_kinds_pass_with_their_trailers() -> None:
    heard = bytearray()

    async def pod(stream: trio.SocketStream) -> None:
        while not heard.endswith(b"X-Sum: 1\r\n\r\n"):
            heard.extend(await stream.receive_some(1000))
        chunks = "2\r\nab\r\n1\r\nc\r\n0\r\nX-Sum: 3\r\n\r\n"
        await stream.send_all(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}".encode())

    async with talking(web=pod) as story:
        post = GET.replace("GET", "POST").replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n")
        await story.ask(f"{post}3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
        assert await story.body() == ("abc", [(b"x-sum", b"3")])
    assert heard.startswith(b"POST / HTTP/1.1\r\nHost: web.shop\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n")


async def test_an_answer_that_ends_with_its_connection_is_chunked_for_the_client() -> None:
    async with talking(web=[answers("HTTP/1.0 200 OK\r\n\r\nold"), says("new")]) as story:
        answer = await story.ask(GET)
        assert (b"transfer-encoding", b"chunked") in list(answer.headers)
        assert (await story.body())[0] == "old"
        assert await story.get() == "new"


async def test_a_client_of_http_1_0_gets_an_answer_that_ends_with_its_connection() -> None:
    async with talking(
        web=answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
    ) as story:
        await story.client.send_all(b"GET http://web.shop/ HTTP/1.0\r\n\r\n")
        answer, _, body = (await story.to_the_end()).partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in answer.lower()
        assert body == b"ab"


async def test_head_and_not_modified_have_no_body() -> None:
    async with talking(web=answers("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")) as story:
        await story.client.send_all(GET.replace("GET", "HEAD").encode())
        answer = await story.answer("HEAD")
        assert (b"content-length", b"1000") in list(answer.headers)
        assert await story.body() == ("", [])


async def test_a_refusal_of_head_has_no_body() -> None:
    async with talking(web=says("web")) as story:
        for target in ("http://nosuch.shop/", "/", "/nosuch"):
            await story.client.send_all(f"HEAD {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            await story.answer("HEAD")
            assert await story.body() == ("", [])
        assert await story.get() == "web"


async def test_the_client_waits_for_100_continue_of_the_pod() -> None:
    async def pod(stream: trio.SocketStream) -> None:
        assert b"Expect: 100-continue" in await head(stream)
        await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await stream.receive_some(100) == b"abc"
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with talking(web=pod) as story:
        post = GET.replace("GET", "POST").replace("\r\n\r\n", "\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        await story.client.send_all(post.encode())
        assert (await story.client.receive_some(1000)).startswith(b"HTTP/1.1 100 ")
        assert (await story.ask("abc")).status_code == 200


async def test_early_hints_pass() -> None:
    early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with talking(web=answers(early)) as story:
        await story.client.send_all(GET.encode())
        story.reader = h11.Connection(h11.CLIENT)
        story.reader.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        hint = await story.event()
        assert isinstance(hint, h11.InformationalResponse)
        assert list(hint.headers) == [(b"link", b"</a>")]
        assert isinstance(await story.event(), h11.Response)


async def test_an_early_answer_ends_an_upload() -> None:
    async def pod(stream: trio.SocketStream) -> None:
        await head(stream)
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n")

    async with talking(web=pod) as story:
        post = GET.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 1000000\r\n\r\n")
        assert (await story.ask(f"{post}{'a' * 1000}")).status_code == 413
        assert (await story.body())[0] == "no\n"
        assert await story.to_the_end() == b""


async def test_an_upgrade_becomes_bytes_both_ways() -> None:
    async def pod(stream: trio.SocketStream) -> None:
        assert b"Upgrade: echo\r\n" in await head(stream)
        await stream.send_all(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello ")
        async for data in stream:
            await stream.send_all(data.upper())

    async with talking(web=pod) as story:
        upgrade = "\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        await story.client.send_all(GET.replace("\r\n\r\n", upgrade).encode())
        first = await story.client.receive_some(1000)
        assert b" 101 " in first
        assert b"Upgrade: echo\r\n" in first
        await story.client.send_all(b"abc")
        await story.client.send_eof()
        assert (first + await story.to_the_end()).endswith(b"hello ABC")


async def test_an_upgrade_that_the_pod_declines_is_a_request_like_others() -> None:
    async with talking(web=says("plain"), api=says("api")) as story:
        upgrade = "\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        assert await story.get(GET.replace("\r\n\r\n", upgrade)) == "plain"
        assert await story.get(GET.replace("web.shop", "api.shop")) == "api", "the next one goes elsewhere"


async def test_connect_hands_the_connection_over() -> None:
    async with talking(web=says("web")) as story:
        await story.client.send_all(b"CONNECT web.shop:443 HTTP/1.1\r\nHost: web.shop:443\r\n\r\nhello")
        assert await story.to_the_end() == b"HTTP/1.1 200 Connection established\r\n\r\nrest: hello"


async def test_a_client_that_leaves_ends_its_request() -> None:
    over = trio.Event()

    async def pod(stream: trio.SocketStream) -> None:
        await head(stream)
        assert await stream.receive_some(1) == b""
        over.set()

    async with talking(web=pod) as story:
        await story.client.send_all(GET.encode())
        await trio.testing.wait_all_tasks_blocked()
        await story.client.aclose()
        await over.wait()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("\x16\x03\x01\x02\x00\x01\x00\x01", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/one\r\nHost: localhost\r\n\r\n", 400),
        ("hello\r\n\r\n", 400),
        (f"GET / HTTP/1.1\r\nHost: localhost\r\nX: {'x' * 1_000_000}\r\n\r\n", 431),
        (f"GET http://{'a' * 10_000}/ HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("POST http://web.shop/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("POST http://web.shop/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n", 400),
        ("GET http://web.shop/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    ],
)
async def test_what_is_not_http_gets_its_answer_and_the_end(sent: str, status: int) -> None:
    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with talking(web=silent) as story, trio.open_nursery() as nursery:

        async def send() -> None:
            try:
                await story.client.send_all(sent.encode("latin-1"))
                await story.client.send_eof()
            except trio.BrokenResourceError:
                pass  # it is not read to its end

        nursery.start_soon(send)
        assert (await story.to_the_end()).startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize(
    "answer",
    ["hello\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 200 OK\r\nX: " + "x" * 100_000],
)
async def test_a_pod_that_does_not_speak_http(answer: str) -> None:
    async with talking(web=answers(answer)) as story:
        assert (await story.ask(GET)).status_code == 502
        assert (await story.body())[0].startswith("the pod's answer is not HTTP: ")
