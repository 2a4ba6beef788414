"""The panel in a browser: who gets in, and that it works in a real one."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
import trio

from kpf_supervise.kubectl.process import lines
from kpf_supervise.sandbox import open_cluster
from tests import browser
from tests.kubectls import KUBECTLS
from tests.program import PATIENCE, supervising

pytest.importorskip("textual_serve")
NEWEST = KUBECTLS[-1]
CONFIG = 'forwards: {web: {target: service/web, ports: ":http"}}'


@asynccontextmanager
async def served(environment: dict[str, str], *words: str) -> AsyncIterator[tuple[str, trio.Process]]:
    """The address that kpfctl prints."""
    command = [sys.executable, "-m", "kpf_supervise.kpfctl", *words, "panel", "--web"]
    process = await trio.lowlevel.open_process(command, env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        with trio.fail_after(PATIENCE):
            async with process.stdout, aclosing(lines(process.stdout)) as told:
                yield (await anext(told)).decode(), process
    finally:
        if process.poll() is None:
            process.kill()
            await process.wait()


def status(address: str, path: str = "", **headers: str) -> tuple[int, dict[str, str]]:
    host, place = address.removeprefix("http://").split("/", 1)
    connection = HTTPConnection(host, timeout=10)
    connection.request("GET", f"/{place}{path}" if not path.startswith("/") else path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders())


async def test_only_who_has_the_address_gets_in_and_no_foreign_page(tmp_path: Path) -> None:
    async with supervising(tmp_path, NEWEST, None, CONFIG) as instance, instance.peer():
        async with served(instance.environment) as (address, process):
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{43}/", address)

            def ask() -> None:
                code, headers = status(address)
                assert code == 200
                assert headers["Referrer-Policy"] == "no-referrer"
                assert "default-src 'none'" in headers["Content-Security-Policy"]
                assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
                assert status(address, "static/js/textual.js")[0] == 200
                for path in ("/", "/ws", "/static/js/textual.js", "/wrong/ws", f"/{'x' * 43}/ws"):
                    assert status(address, path)[0] == 404, path
                upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
                upgrade["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
                port = address.split(":")[2].split("/")[0]
                for wrong in (
                    {"Host": f"evil.example:{port}"},
                    {"Host": "127.0.0.1:80"},
                    {"Origin": "http://evil.example"},
                    {"Origin": f"http://127.0.0.1:{int(port) + 1}"},
                    {"Origin": "null"},
                ):
                    assert status(address, "ws", **upgrade, **wrong)[0] == 403, wrong
                    assert status(address, **wrong)[0] == 403, wrong

            await trio.to_thread.run_sync(ask)
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0


async def test_without_an_instance_nothing_is_served(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kpf_supervise.kpfctl", "--socket", f"{tmp_path}/s", "panel", "--web"]
    done = await trio.run_process(command, check=False, capture_stderr=True, capture_stdout=True, stdin=b"")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"no instance serves it" in done.stderr


@pytest.mark.skipif(browser.found() is None, reason="no browser of the Chromium family is installed")
async def test_a_browser_reads_a_row_and_stops_a_forward(tmp_path: Path) -> None:
    async with open_cluster(tmp_path) as cluster:
        async with supervising(tmp_path, NEWEST, cluster.kubeconfig, CONFIG) as instance, instance.peer() as peer:
            await instance.all_active("web")
            async with served(instance.environment) as (address, _):
                command = [sys.executable, "-m", "tests.browser", str(browser.found()), address]
                with trio.fail_after(3 * PATIENCE):
                    done = await trio.run_process(
                        command, capture_stdout=True, stdin=b"", cwd=Path(__file__).parents[2]
                    )
                assert done.stdout.decode().splitlines()[:2] == ["active", "stopped"]
                assert (await peer.list())["web"]["state"] == "stopped"
