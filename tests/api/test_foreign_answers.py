"""Whatever bytes come over the socket, and whatever a server says in the place of a Status: it is refused where it
enters."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from kpf_supervise.api.connection import Cut, Gone, get
from kpf_supervise.api.errors import proxy_failed, refused
from kpf_supervise.kubectl.process import lines
from kpf_supervise.model import Cause, Cluster, Problem
from tests.anything import EXAMPLES, RANDOM

pytestmark = RANDOM

PATH = "/api/v1/namespaces/dev/pods?limit=500"


def head(*headers: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


PIECES = st.sampled_from(
    [
        head(),
        head("Content-Length: 3"),
        head("Transfer-Encoding: chunked", "Content-Type: text/plain"),
        head("Transfer-Encoding: chunked", status="500 Internal Server Error"),
        head(status="100 Continue"),
        b"HTTP/1.1 999 \xff\r\n\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"\r\n",
        b"abc\n",
    ]
)


async def answered(data: bytes) -> bytes | None:
    """The body that is read when `data` and then the end come as an answer; None if it breaks off."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(data)

    with tempfile.TemporaryDirectory(prefix="kpf") as folder:
        socket = Path(folder) / "s"
        listening = trio.socket.socket(trio.socket.AF_UNIX)
        await listening.bind(str(socket))
        listening.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, [trio.SocketListener(listening)])
            try:
                async with get(socket, PATH) as answer:
                    assert isinstance(answer.status, int)
                    return b"\n".join([line async for line in lines(answer.body, 100)])
            except Cut:
                return None
            finally:
                nursery.cancel_scope.cancel()
    raise AssertionError("unreachable")


@settings(max_examples=EXAMPLES // 2, deadline=None)
@given(st.lists(PIECES | st.binary(max_size=20), max_size=6).map(b"".join))
def test_whatever_comes_is_an_answer_or_broke_off(data: bytes) -> None:
    trio.run(answered, data)


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (head("Content-Length: 3") + b"abc", b"abc"),
        (head("Content-Length: 3") + b"ab", None),
        (head("Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (head("Transfer-Encoding: chunked") + b"3\r\nabc\r\n", None),
        (head("Transfer-Encoding: chunked"), None),
        (head(status="100 Continue") + head("Content-Length: 3") + b"abc", b"abc"),
        (b"", None),
        (b"SSH-2.0-OpenSSH\r\n", None),
    ],
)
async def test_only_a_whole_body_is_an_answer(data: bytes, body: bytes | None) -> None:
    assert await answered(data) == body


async def test_a_socket_that_nobody_serves_is_gone(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(Gone):
            async with get(path, PATH):
                pass


WORDS = st.text(max_size=50) | st.sampled_from(["pods", "NotFound", 'User "me" cannot list resource "pods"', "\ud800"])
VALUES = WORDS | st.integers() | st.none() | st.lists(st.none(), max_size=2)
DETAILS = st.dictionaries(st.sampled_from(["name", "kind", "group"]), VALUES) | VALUES
STATUS = st.fixed_dictionaries(
    {"kind": st.just("Status")}, optional={"code": VALUES, "reason": VALUES, "message": VALUES, "details": DETAILS}
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(100, 999), STATUS.map(lambda status: json.dumps(status).encode()) | st.binary(max_size=200))
def test_each_refusal_is_a_problem_of_one_line(code: int, body: bytes) -> None:
    check(refused(code, body, PATH, Cluster(context="dev")))


@settings(max_examples=EXAMPLES, deadline=None)
@given(WORDS, st.lists(WORDS, max_size=3))
def test_whatever_kubectl_says_is_a_problem_of_one_line(words: str, said: list[str]) -> None:
    check(proxy_failed(words, said, Cluster(context="dev")))
    check(proxy_failed(f"getting credentials: {words}", said, Cluster(context="dev")))


def check(problem: Problem) -> None:
    assert problem.message
    assert "\n" not in str(problem)
    str(problem).encode()


def status(code: int, message: str, reason: str = "", **details: str) -> bytes:
    return json.dumps(
        {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
    ).encode()


CANNOT = 'pods is forbidden: User "me" cannot list resource "pods" in API group "" in the namespace "shop"'


@pytest.mark.parametrize(
    ("code", "body", "cause", "message"),
    [
        (401, status(401, "Unauthorized"), Cause.UNAUTHORIZED, "the API server does not accept your credentials"),
        (401, b"", Cause.UNAUTHORIZED, "the API server does not accept your credentials (Unauthorized)"),
        (403, status(403, CANNOT, "Forbidden"), Cause.FORBIDDEN, "you (me) may not list pods in namespace shop"),
        (403, b"<html>blocked", Cause.FORBIDDEN, "forbidden: Error from server (Forbidden): Forbidden"),
        (404, status(404, "gone", name="web", kind="services"), Cause.NO_SUCH_OBJECT, 'there is no service "web" in'),
        (
            404,
            status(404, "gone", name="web", kind="deployments", group="apps"),
            Cause.NO_SUCH_OBJECT,
            'there is no deployment "web" in the namespace',
        ),
        (
            404,
            status(404, "gone", name="shop", kind="namespaces"),
            Cause.NO_SUCH_NAMESPACE,
            "there is no namespace shop",
        ),
        (404, status(404, "the server could not find"), Cause.OTHER, "the API server said: the server could not find"),
        (410, status(410, "too old", "Expired"), Cause.OTHER, "the API server said: too old"),
        (429, b"", Cause.API_UNREACHABLE, "the API server is in trouble: Too Many Requests (429)"),
        (
            500,
            status(500, "etcd: x509: bad"),
            Cause.API_UNREACHABLE,
            "the API server is in trouble: etcd: x509: bad (500)",
        ),
        (503, b"<html>", Cause.API_UNREACHABLE, "the API server is in trouble: Service Unavailable (503)"),
        (504, status(504, "slow", "Timeout"), Cause.API_UNREACHABLE, "the API server is in trouble: slow (504)"),
        (302, b"<html>", Cause.API_UNREACHABLE, "what answered /api/v1/namespaces/dev/pods is no API server"),
        (
            400,
            b"Client sent an HTTP request to an HTTPS server.",
            Cause.TLS,
            "no API server that speaks the kubeconfig's",
        ),
    ],
)
def test_what_a_refusal_means(code: int, body: bytes, cause: Cause, message: str) -> None:
    problem = refused(code, body, PATH, Cluster(context="dev"))
    assert (problem.cause, message in problem.message) == (cause, True), problem


PLUGIN = "getting credentials: exec: executable aws failed with exit code 255"


@pytest.mark.parametrize(
    ("words", "said", "cause", "message"),
    [
        (
            "dial tcp 10.0.0.1:6443: connect: connection refused",
            [],
            Cause.API_UNREACHABLE,
            "does not answer (10.0.0.1:6443)",
        ),
        ("dial tcp 10.0.0.1:6443: i/o timeout", [], Cause.API_UNREACHABLE, "(dial tcp 10.0.0.1:6443: i/o timeout)"),
        ("net/http: TLS handshake timeout", [], Cause.API_UNREACHABLE, "(net/http: TLS handshake timeout)"),
        ("unexpected EOF", [], Cause.API_UNREACHABLE, "(unexpected EOF)"),
        ("tls: first record does not look like a TLS handshake", [], Cause.TLS, "the kubeconfig's http or https"),
        ("Service Unavailable", [], Cause.PROXY, "the proxy does not let kubectl through (Service Unavailable)"),
        (
            PLUGIN,
            ["Token has expired", f"E1123 proxy_server.go:147] {PLUGIN}"],
            Cause.CREDENTIALS,
            "failed: Token has expired",
        ),
        (
            "dial tcp: lookup api.invalid: no such host",
            ["Token has expired"],
            Cause.API_UNREACHABLE,
            "api.invalid (DNS)",
        ),
    ],
)
def test_what_kubectls_own_answer_means(words: str, said: list[str], cause: Cause, message: str) -> None:
    problem = proxy_failed(words, said, Cluster(context="dev"))
    assert (problem.cause, message in problem.message) == (cause, True), problem


def test_a_refused_connection_is_the_proxys_where_there_is_one() -> None:
    words = "proxyconnect tcp: dial tcp 10.0.0.9:3128: connect: connection refused"
    problem = proxy_failed(words, [], Cluster(context="dev", proxy="10.0.0.9:3128"))
    told = "the proxy 10.0.0.9:3128 does not answer (connection refused)"
    assert (problem.cause, problem.message) == (Cause.PROXY, told)
