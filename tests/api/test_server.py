"""The kubectl through which all is read, real and against the sandbox cluster."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import trio

from kpf_supervise.api import server as api_server
from kpf_supervise.api.connection import get
from kpf_supervise.api.process import ASKING_RIGHTS, REVIEWS
from kpf_supervise.inspection.rights import Right, read_review, review
from kpf_supervise.model import Cause, ForwardError
from kpf_supervise.sandbox import open_cluster, write_kubeconfig
from tests.api.reading import (
    PODS,
    WEB,
    Folders,
    broken_off,
    failure,
    proxies,
    reading,
)
from tests.conftest import NEWEST
from tests.kubectls import Kubectl
from tests.plugin import credential, expired_credential, plugin
from tests.program import until


@pytest.fixture
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return Folders(tmp_path_factory.mktemp("s") / "r")


async def test_questions_and_streams_are_answered_by_one_process_that_leaves_nothing(
    kubectl: Kubectl, tmp_path: Path, folders: Folders
) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with reading(kubectl, cluster.kubeconfig, folders) as api:
            assert proxies() == [], "it starts with the first question"
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(api.read, WEB)
            assert json.loads(await api.read(WEB))["kind"] == "Service"
            (process,) = proxies()
            (folder,) = folders.there
            assert folder.stat().st_mode & 0o777 == 0o700
            assert [each.name for each in folder.iterdir()] == ["s"]
            async with api.stream(f"{PODS}?watch=1&resourceVersion={cluster.store.version}") as lines:
                cluster.set_ready("db-0", False)
                assert json.loads(await anext(lines))["object"]["metadata"]["name"] == "db-0"
                cluster.end_watches("clean")
                assert [line async for line in lines] == []
            assert proxies() == [process]
        assert not process.is_running()
        assert folders.there == []


async def test_its_socket_gives_nothing_but_what_we_read(kubectl: Kubectl, tmp_path: Path, folders: Folders) -> None:
    async with open_cluster(tmp_path) as cluster, reading(kubectl, cluster.kubeconfig, folders) as api:
        await api.read("/version")
        asked = len(cluster.requests)
        for path in ("/api/v1/namespaces/dev/secrets", f"{PODS}/db-0/exec", f"{PODS}/db-0/portforward", "/api/v1/pods"):
            async with get(folders.socket, path) as answer:
                assert answer.status == 403, path
        async with await trio.open_unix_socket(str(folders.socket)) as stream:
            await stream.send_all(b"DELETE /api/v1/namespaces/dev/pods/db-0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 403")
        assert len(cluster.requests) == asked


async def test_a_socket_for_rights_gives_nothing_but_their_answers(
    kubectl: Kubectl, tmp_path: Path, folders: Folders
) -> None:
    async with (
        open_cluster(tmp_path) as cluster,
        reading(kubectl, cluster.kubeconfig, folders, lets_through=ASKING_RIGHTS) as api,
    ):
        cluster.faults.forbid("watch", "pods")
        answers = [
            read_review(await api.read(REVIEWS, review(Right(verb, "pods"), "dev"))) for verb in ("list", "watch")
        ]
        assert answers == [True, False]
        asked = len(cluster.requests)
        for path, posted in ((PODS, b""), (PODS, b"{}"), (f"{PODS}/db-0/exec", b"{}"), (f"{REVIEWS}/x", b"{}")):
            async with get(folders.socket, path, posted=posted) as answer:
                assert answer.status == 403, path
        assert len(cluster.requests) == asked


async def test_what_the_api_server_refuses_has_its_cause(kubectl: Kubectl, tmp_path: Path, folders: Folders) -> None:
    async with open_cluster(tmp_path) as cluster, reading(kubectl, cluster.kubeconfig, folders) as api:
        missing = await failure(api, "/apis/apps/v1/namespaces/dev/deployments/nosuch")
        assert (missing.cause, missing.message) == (
            Cause.NO_SUCH_OBJECT,
            'there is no deployment "nosuch" in the namespace',
        )
        nowhere = await failure(api, "/api/v1/namespaces/nosuch")
        assert (nowhere.cause, nowhere.message) == (Cause.NO_SUCH_NAMESPACE, "there is no namespace nosuch")
        cluster.faults.forbid("watch", "pods")
        with pytest.raises(ForwardError) as raised:
            async with api.stream(f"{PODS}?watch=1"):
                pass
        assert raised.value.problem.message == "you (sandbox) may not watch pods in namespace dev"
        cluster.faults.answer(503, path=WEB)
        assert (await failure(api, WEB)).message == "the API server is in trouble: ServiceUnavailable (503)"
        cluster.faults.clear()
        await cluster.stop_api()
        await failure(api, WEB)  # the end of the connection that it had
        down = await failure(api, WEB)
        assert (down.cause, down.message) == (
            Cause.API_UNREACHABLE,
            f"the API server does not answer (127.0.0.1:{cluster.port})",
        )
        assert len(proxies()) == 1


async def test_a_kubeconfig_that_has_changed_is_used_at_the_next_question(
    kubectl: Kubectl, tmp_path: Path, folders: Folders
) -> None:
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.add("new")
        file = tmp_path / "secure"
        write_kubeconfig(file, dev=cluster.context({"token": "old"}))
        async with reading(kubectl, file, folders) as api:
            assert (await failure(api, WEB)).cause is Cause.UNAUTHORIZED
            write_kubeconfig(file, dev=cluster.context({"token": "new"}))
            assert await api.read(WEB)

            async def log_in() -> None:
                cluster.tokens.revoke()
                cluster.tokens.add("newer")
                write_kubeconfig(file, dev=cluster.context({"token": "newer"}))
                assert await api.read(WEB)

            # the old process ends once the new one has been answered
            assert not await broken_off(api, cluster, log_in)
            await until(lambda: len(proxies()) == 1)


async def test_a_credential_plugin_runs_once_for_many_questions(tmp_path: Path, folders: Folders) -> None:
    runs = tmp_path / "runs"
    login = plugin(tmp_path / "login", f"echo run >> {runs}; echo '{credential('good')}'")
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.add("good")
        file = write_kubeconfig(tmp_path / "secure", dev=cluster.context(login))
        async with reading(NEWEST, file, folders) as api:
            for _ in range(5):
                await api.read(WEB)
            assert runs.read_text() == "run\n"


async def test_while_it_is_refused_each_question_is_asked_by_a_fresh_process(tmp_path: Path, folders: Folders) -> None:
    """As after a new login, whatever the old one keeps in memory."""
    token = tmp_path / "token"
    login = plugin(tmp_path / "login", f"cat {token}")
    token.write_text(credential("old"))
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.add("new")
        file = write_kubeconfig(tmp_path / "secure", dev=cluster.context(login))
        async with reading(NEWEST, file, folders) as api:
            assert (await failure(api, WEB)).cause is Cause.UNAUTHORIZED
            token.write_text(credential("new"))
            assert await api.read(WEB)
            await until(lambda: len(proxies()) == 1)


async def test_killed_it_is_told_and_begun_anew(kubectl: Kubectl, tmp_path: Path, folders: Folders) -> None:
    notices: list[str] = []
    async with open_cluster(tmp_path) as cluster:
        async with reading(kubectl, cluster.kubeconfig, folders, notices) as api:
            await api.read(WEB)

            async def kill() -> None:
                proxies()[0].kill()

            assert not await broken_off(api, cluster, kill)
            assert await api.read(WEB)
            assert notices == [
                "the cluster: the kubectl that reads from the API server was killed by signal 9. A fresh one is started"
            ]
            assert len(folders.there) == 1


async def test_one_that_ends_again_and_again_is_started_with_growing_pauses(tmp_path: Path, folders: Folders) -> None:
    notices: list[str] = []
    binary = tmp_path / "kubectl"
    starts = tmp_path / "starts"
    binary.write_text(f"#!/bin/sh\necho start >> {starts}; echo 'Starting to serve on s'; sleep 0.05; exit 3\n")
    binary.chmod(0o755)
    async with reading(replace(NEWEST, path=str(binary)), tmp_path / "config", folders, notices) as api:
        with trio.move_on_after(2):
            while True:
                assert (await failure(api, WEB)).cause is Cause.API_UNREACHABLE
    assert 2 <= starts.read_text().count("start") <= 5
    assert notices[0].endswith("has ended (exit code 3). A fresh one is started")
    assert notices[1].endswith("(exit code 3), as the one before it. It is started again, with growing pauses")
    assert notices[2:] == []


async def test_without_its_socket_it_is_told_and_begun_anew_beside_the_old_one(
    kubectl: Kubectl, tmp_path: Path, folders: Folders
) -> None:
    notices: list[str] = []
    async with open_cluster(tmp_path) as cluster:
        async with reading(kubectl, cluster.kubeconfig, folders, notices) as api:
            await api.read(WEB)
            before = folders.socket
            before.unlink()
            assert await api.read(WEB)
            assert len(notices) == 1
            assert notices[0].startswith("the cluster: the kubectl that reads from the API server has lost its socket")
            await until(lambda: len(proxies()) == 1 and len(folders.there) == 1)
            assert folders.socket != before


async def test_without_a_folder_for_its_socket_the_problem_says_so_until_there_is_one(
    tmp_path: Path, folders: Folders
) -> None:
    async with open_cluster(tmp_path) as cluster, reading(NEWEST, cluster.kubeconfig, folders) as api:
        folders.broken = True
        problem = await failure(api, WEB)
        assert problem.message.startswith("kubectl can't get a socket: [Errno 13] Permission denied: ")
        assert problem.next_step.startswith("Make that folder writable, or set XDG_RUNTIME_DIR")
        folders.broken = False
        assert await api.read(WEB)


async def test_a_dead_connection_is_found_out_by_a_question_that_is_then_answered_by_a_fresh_process(
    kubectl: Kubectl, tmp_path: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_cluster(tmp_path) as cluster, reading(kubectl, cluster.kubeconfig, folders) as api:
        await api.read(WEB)

        async def lose() -> None:
            (process,) = proxies()
            process.suspend()  # as silent as one whose only connection is dead
            await until(lambda: process.status() == psutil.STATUS_STOPPED)  # its threads may answer until then
            monkeypatch.setattr(api_server, "_OVERDUE", 0.3)
            monkeypatch.setattr(api_server, "_CHECK", 0.3)
            assert await api.read(WEB)

        assert await broken_off(api, cluster, lose), "and all that it carried has died"


async def test_a_slow_object_is_no_dead_connection(
    tmp_path: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_cluster(tmp_path) as cluster, reading(NEWEST, cluster.kubeconfig, folders) as api:
        await api.read(WEB)
        before = proxies()
        async with api.stream(f"{PODS}?watch=1&resourceVersion={cluster.store.version}") as lines:
            cluster.pause_api()
            with monkeypatch.context() as patch:
                patch.setattr(api_server, "TIMEOUT", 0.5)
                patch.setattr(api_server, "_OVERDUE", 0.1)
                assert (await failure(api, WEB)).cause is Cause.TOO_SLOW
            cluster.resume_api()
            assert await api.read(WEB)
            cluster.set_ready("db-0", False)
            assert await anext(lines)
        assert proxies() == before


async def test_a_plugin_that_waits_for_its_user_is_no_dead_connection(
    tmp_path: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is started beside it: no second browser window opens."""
    runs = tmp_path / "runs"
    expired = expired_credential("good")
    login = plugin(tmp_path / "login", f"test -e {runs} && sleep 2; echo run >> {runs}; echo '{expired}'")
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.add("good")
        file = write_kubeconfig(tmp_path / "secure", dev=cluster.context(login))
        async with reading(NEWEST, file, folders) as api:
            await api.read(WEB)
            monkeypatch.setattr(api_server, "_OVERDUE", 0.1)
            monkeypatch.setattr(api_server, "_CHECK", 0.9)
            before, ran = proxies(), runs.read_text().count("run")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(api.read, WEB)
                await until(lambda: runs.read_text().count("run") == ran + 1)
            assert proxies() == before


async def test_a_stream_that_breaks_off_has_a_fresh_process_asked(
    kubectl: Kubectl, tmp_path: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_cluster(tmp_path) as cluster, reading(kubectl, cluster.kubeconfig, folders) as api:
        for well, same in ((60.0, True), (0.0, False)):  # one that is new itself is kept
            monkeypatch.setattr(api_server, "_WELL", well)
            await api.read(WEB)
            before = proxies()

            async def cut() -> None:
                cluster.end_watches("abrupt")

            assert not await broken_off(api, cluster, cut)
            await api.read(WEB)
            await until(lambda: len(proxies()) == 1)
            assert (proxies() == before) is same
