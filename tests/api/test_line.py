"""A line that dies below TLS: found out without a question, and got over as soon as it is back. Real kubectl."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from kpf_supervise.api import server as api_server
from kpf_supervise.api.server import ApiServer
from kpf_supervise.model import Cause
from kpf_supervise.primitives.signal import Signal
from kpf_supervise.sandbox import open_cluster, write_kubeconfig
from tests.api.reading import WEB, Folders, failure, proxies, reading
from tests.conftest import NEWEST
from tests.kubectls import Kubectl
from tests.plugin import expired_credential, plugin
from tests.program import until


@pytest.fixture
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return Folders(tmp_path_factory.mktemp("s") / "r")


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Silence is noticed and attempts are made within a second or two."""
    for name, seconds in {"_QUIET": 0.5, "_OVERDUE": 0.5, "_CHECK": 1.0, "_KNOCK": 0.3}.items():
        monkeypatch.setattr(api_server, name, seconds)
    return monkeypatch


class Heard:
    """What was told of the line so far: True for dead."""

    def __init__(self, api: ApiServer) -> None:
        self.dead: list[bool] = []
        self._api = api
        self._told = Signal()
        api.line.listeners.add(self._hear)

    def _hear(self) -> None:
        self.dead.append(self._api.line.cut_off)
        self._told.tell()

    async def told(self, *dead: bool) -> None:
        await self._told.until(lambda: self.dead == list(dead))


async def test_a_line_that_dies_is_found_out_without_a_question_and_used_again_once_it_is_back(
    kubectl: Kubectl, tmp_path: Path, folders: Folders, brief: pytest.MonkeyPatch
) -> None:
    async with open_cluster(tmp_path) as cluster, reading(kubectl, cluster.kubeconfig, folders) as api:
        heard = Heard(api)
        await api.read(WEB)
        cluster.line.cut()
        await heard.told(True)
        cluster.line.restore()
        await heard.told(True, False)
        await until(lambda: len(proxies()) == 1)
        assert await api.read(WEB)


async def test_what_was_asked_while_it_died_is_answered_once_it_is_back(
    kubectl: Kubectl, tmp_path: Path, folders: Folders, brief: pytest.MonkeyPatch
) -> None:
    """Not after the 10 s which an attempt over a dead line takes, but at the next attempt."""
    async with open_cluster(tmp_path) as cluster, reading(kubectl, cluster.kubeconfig, folders) as api:
        heard = Heard(api)
        await api.read(WEB)
        cluster.line.cut()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(api.read, WEB)
            await heard.told(True)
            await trio.sleep(2)  # attempts are under way, as dead as the others
            cluster.line.restore()
            with trio.fail_after(5):
                await heard.told(True, False)


async def test_a_line_that_is_dead_from_the_start_is_told_and_tried_until_it_is_back(
    tmp_path: Path, folders: Folders, brief: pytest.MonkeyPatch
) -> None:
    brief.setattr(api_server, "TIMEOUT", 2.0)
    async with open_cluster(tmp_path) as cluster:
        cluster.line.cut()
        async with reading(NEWEST, cluster.kubeconfig, folders) as api:
            heard = Heard(api)
            assert (await failure(api, WEB)).cause is Cause.TOO_SLOW
            assert heard.dead == [True]
            cluster.line.restore()
            await heard.told(True, False)
            assert await api.read(WEB)


@pytest.mark.parametrize("how", ["401", "503", "refused"])
async def test_an_api_server_that_answers_anything_is_not_cut_off(
    how: str, tmp_path: Path, folders: Folders, brief: pytest.MonkeyPatch
) -> None:
    async with open_cluster(tmp_path) as cluster, reading(NEWEST, cluster.kubeconfig, folders) as api:
        heard = Heard(api)
        await api.read(WEB)
        cluster.line.cut()
        await heard.told(True)
        if how == "refused":
            await cluster.stop_api()
        else:
            cluster.faults.answer(int(how))
        cluster.line.restore()
        await heard.told(True, False)
        assert (await failure(api, WEB)).cause in (Cause.UNAUTHORIZED, Cause.API_UNREACHABLE)
        assert not api.line.cut_off


async def test_a_plugin_that_fails_is_not_run_again_only_to_find_out_whether_the_line_is_dead(
    tmp_path: Path, folders: Folders, brief: pytest.MonkeyPatch
) -> None:
    """It may open a window each time."""
    runs = tmp_path / "runs"
    expired = expired_credential("good")
    login = plugin(tmp_path / "login", f"echo run >> {runs}; test $(wc -l < {runs}) -lt 3 && echo '{expired}'")
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.add("good")
        file = write_kubeconfig(tmp_path / "secure", dev=cluster.context(login))
        async with reading(NEWEST, file, folders) as api:
            await api.read(WEB)  # a run for the small question, and one for this
            brief.setattr(api_server, "_QUIET", 0.2)
            await until(lambda: runs.read_text().count("run") == 3)
            await trio.sleep(1)  # five times as long as it would take
            assert runs.read_text().count("run") == 3
            assert (await failure(api, WEB)).cause is Cause.CREDENTIALS
