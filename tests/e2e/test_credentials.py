"""Credentials, certificates and proxies that don't do, with real kubectl over TLS."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psutil
import pytest
import trio
import trio.testing

from kpf_supervise.sandbox import CredentialPlugin, certificate, open_cluster, write_kubeconfig
from tests.conftest import NEWEST, both
from tests.kubectls import Kubectl
from tests.plugin import credential, plugin
from tests.program import Instance, get, supervising, until
from tests.terminal import in_terminal

LONG_AGO = datetime(2020, 6, 1, tzinfo=UTC)
PROMPT = "printf 'Your name? ' >&2; read word || { echo 'no terminal to ask on' >&2; exit 1; }"


@asynccontextmanager
async def open_proxy(status: str) -> AsyncIterator[str]:
    """A proxy that answers every CONNECT with this status; yields its URL, with a password in it."""

    async def answer(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        yield f"http://me:geheim@127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def open_server(own: certificate.Certificate) -> AsyncIterator[dict[str, str]]:
    """A server with a certificate that kubectl turns down; yields how a kubeconfig's cluster names it."""

    async def shake_hands(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.do_handshake()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        secure = trio.SSLListener(listener, own.server_context())
        nursery.start_soon(trio.serve_listeners, shake_hands, [secure])
        url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}"
        yield {"server": url, "certificate-authority-data": own.authority}
        nursery.cancel_scope.cancel()


def forwards(*contexts: str) -> str:
    """The configuration of a forward in each context, of the same name."""
    rows = (f"  {name}: {{target: service/web, context: {name}, ports: ':http'}}\n" for name in contexts)
    return f"forwards:\n{''.join(rows)}"


# The context's name → the cause, and what the notice about it says.
TELLS = {
    "token": ("unauthorized", "does not accept your credentials (Unauthorized)", "Log in again, then check with: "),
    "fails": ("credential-plugin", "plugin fails failed: please run: cloud login", "kpfctl login fails"),
    "prompts": (
        "credential-plugin",
        "plugin prompts failed: Your name? no terminal",
        "kpfctl login prompts",
    ),
    "missing": ("credential-plugin", "plugin nosuch-plugin is not installed", "Get it with: pip install nosuch"),
    "always": ("credential-plugin", "", "kpfctl login always"),  # kubectl before 1.22 does not tell that it is Always
    "stranger": ("tls", "certificate signed by unknown authority", "Check server and certificate-authority"),
    "other": ("tls", "cannot validate certificate for 127.0.0.1", "Check server and certificate-authority"),
    "expired": ("tls", "certificate has expired or is not yet valid", "this machine's clock"),
    "http": ("tls", "no API server that speaks the kubeconfig's http or https", "Check server in the kubeconfig"),
    "closed": ("proxy", "the proxy 127.0.0.1:1 does not answer (connection refused)", "proxy-url in the kubeconfig"),
    "login": ("proxy", "the proxy wants a user and a password (Proxy Authentication Required)", "Put them into"),
    "shut": ("proxy", "the proxy does not let kubectl through (Service Unavailable)", "proxy-url in the kubeconfig"),
    "nowhere": ("proxy", "the proxy does not answer (dial tcp: lookup proxy.invalid", "proxy-url in the kubeconfig"),
    "variable": ("proxy", "the proxy 127.0.0.1:1 does not answer (connection refused)", "Check HTTPS_PROXY"),
    "unknown": ("api-unreachable", "the API server's name is not known: api.invalid (DNS)", "Is the VPN up?"),
}


@both
async def test_each_says_what_is_wrong_and_what_to_do(kubectl: Kubectl, tmp_path: Path) -> None:
    """One file with all of them, and a good one that none of them hurts."""
    async with open_cluster(tmp_path) as cluster, AsyncExitStack() as stack:
        cluster.tokens.add("good")
        other = await stack.enter_async_context(open_server(certificate.make("other.invalid")))
        expired = await stack.enter_async_context(open_server(certificate.make("127.0.0.1", LONG_AGO)))
        login = await stack.enter_async_context(open_proxy("407 Proxy Authentication Required"))
        shut = await stack.enter_async_context(open_proxy("503 Service Unavailable"))
        http = await stack.enter_async_context(open_proxy("400 Bad Request"))
        good = {"token": "good"}
        missing = {"command": "nosuch-plugin", "installHint": "Get it with:\n  pip install nosuch"}
        contexts = {
            "good": cluster.context(good),
            "token": cluster.context({"token": "bad"}),
            "fails": cluster.context(plugin(tmp_path / "fails", "echo 'please run: cloud login' >&2; exit 1")),
            "prompts": cluster.context(plugin(tmp_path / "prompts", PROMPT)),
            "missing": cluster.context(plugin(tmp_path / "missing", "", **missing)),
            "always": cluster.context(plugin(tmp_path / "always", "exit 1", interactiveMode="Always")),
            "stranger": cluster.context(good, **{"certificate-authority-data": None}),
            "other": cluster.context(good, **other),
            "expired": cluster.context(good, **expired),
            "http": cluster.context(good, server=f"https://{http.rpartition('@')[2]}"),
            "closed": cluster.context(good, **{"proxy-url": "http://me:geheim@127.0.0.1:1"}),
            "login": cluster.context(good, **{"proxy-url": login}),
            "shut": cluster.context(good, **{"proxy-url": shut}),
            "nowhere": cluster.context(good, **{"proxy-url": "http://proxy.invalid:3128"}),
            "variable": cluster.context(good, server="https://behind.invalid"),
            "unknown": cluster.context(good, server="https://api.invalid"),
        }
        kubeconfig = write_kubeconfig(tmp_path / "secure", **contexts)
        variables = {"HTTPS_PROXY": "http://me:geheim@127.0.0.1:1", "NO_PROXY": "x.invalid,api.invalid"}
        async with supervising(tmp_path, kubectl, kubeconfig, forwards(*contexts), **variables) as instance:
            await instance.all_active("good")
            for name, (cause, message, step) in TELLS.items():
                told = await notice_on(instance, name)
                assert message in told, name
                assert step in told, name
                state = "failed" if cause in ("unauthorized", "credential-plugin") else "reconnecting"
                await instance.all_last(state, name)
                last = next(e for e in reversed(instance.events) if e.get("forward") == name)
                assert last["cause"] == cause, last
                assert message in last["message"], name
            assert (await get(instance.port("good"))).startswith(b"web-")
            assert "geheim" not in str(instance.events) + str(instance.output)
            assert len([e for e in instance.events if e["event"] == "notice"]) == len(TELLS), "one each"


async def notice_on(instance: Instance, context: str) -> str:
    """What the notice about this context says."""

    def found() -> list[str]:
        notices = (str(e["message"]) for e in instance.events if e["event"] == "notice")
        return [text for text in notices if text.startswith(f"{context}: ")]

    await instance.told(lambda: bool(found()))
    return found()[0]


@both
async def test_a_login_that_expires_meanwhile(kubectl: Kubectl, tmp_path: Path) -> None:
    """Told once; what works is left alone; what can't start fails, and starts by itself after the login."""
    config = """
        forwards:
          one: {target: statefulset/db, ports: ":http"}
          two: {target: statefulset/db, ports: ":http"}
          three: {target: service/web, ports: ":http"}
          other: {selector: app=none, namespace: data, ports: ":http"}
        """
    token = tmp_path / "token"
    token.write_text("of-today")
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.add("of-today")
        kubeconfig = write_kubeconfig(tmp_path / "secure", dev=cluster.context({"tokenFile": str(token)}))
        async with supervising(tmp_path, kubectl, kubeconfig, config) as instance:
            await instance.all_active("one", "two", "three")
            await instance.all_last("waiting", "other")
            cluster.tokens.revoke()
            cluster.tokens.add("of-tomorrow")
            cluster.cut_tunnels("db-0")
            await instance.all_last("failed", "one", "two")
            failed = next(e for e in instance.events if e["event"] == "failed")
            assert failed["cause"] == "unauthorized"
            assert "Log in again, then check with: kubectl --context=dev get pods" in failed["message"]
            cluster.end_watches()
            for _ in range(3):
                assert (await get(instance.port("three"))).startswith(b"web-")
            notices = [e["message"] for e in instance.events if e["event"] == "notice"]
            assert len(notices) == 1, notices
            assert notices[0].startswith("dev: the API server does not accept your credentials (Unauthorized). It is")

            token.write_text("of-tomorrow")
            await instance.until("notice", message="dev: the API server answers again")
            await instance.all_last("active", "one", "two")
            assert await get(instance.port("one")) == b"db-0\n"
            assert instance.kinds("three") == ["connecting", "active"]


@pytest.mark.parametrize("panel", [True, False], ids=["panel", "lines"])
async def test_a_plugin_gets_the_terminal_at_the_start_and_later_none(panel: bool, tmp_path: Path) -> None:
    """Later, for a read from /dev/tty the kernel would stop the whole process group, and so every kubectl."""
    (tmp_path / "credential").write_text(credential("mine"))
    script = f"""
        printf 'Your name? ' >&2
        read word </dev/tty || {{ echo 'nobody to ask' >&2; exit 1; }}
        [ "$word" = me ] && cat {tmp_path / "credential"}"""
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.add("good", "mine")
        kubeconfig = write_kubeconfig(
            tmp_path / "secure",
            asks=cluster.context(plugin(tmp_path / "asks", script)),
            good=cluster.context({"token": "good"}),
        )
        config = tmp_path / "config.yaml"
        config.write_text(forwards("good", "asks"))
        environment = {**os.environ, "HOME": str(tmp_path), "KUBECONFIG": str(kubeconfig)}
        command = [sys.executable, "-m", "kpf_supervise", str(config), "--kubectl", NEWEST.path]
        async with in_terminal(command if panel else [*command, "--no-panel"], environment, columns=300) as terminal:
            await terminal.shows("Your name?")
            if panel:
                await terminal.shows("asks: signing in with asks since ")
            terminal.type("me\n")
            if panel:
                await terminal.shows(lambda text: text.count("active") >= 2)
                return
            shown = await terminal.shows(lambda text: text.count("→ service/web, pod web-") == 2)
            (port,) = re.findall(r"good +active +localhost:(\d+) → service/web", shown)
            cluster.tokens.revoke()
            cluster.tokens.add("good")
            cluster.cut_tunnels()
            await terminal.shows("credential plugin asks failed: Your name? nobody to ask")
            assert (await get(int(port))).startswith(b"web-")


async def test_ctrl_c_ends_a_plugin_that_asks_on_the_terminal(tmp_path: Path) -> None:
    script = f"echo $$ >{tmp_path / 'pid'}; printf 'Your name? ' >&2; read word"
    async with open_cluster(tmp_path) as cluster:
        kubeconfig = write_kubeconfig(tmp_path / "secure", asks=cluster.context(plugin(tmp_path / "asks", script)))
        config = tmp_path / "config.yaml"
        config.write_text(forwards("asks"))
        environment = {**os.environ, "HOME": str(tmp_path), "KUBECONFIG": str(kubeconfig)}
        command = [sys.executable, "-m", "kpf_supervise", str(config), "--kubectl", NEWEST.path]
        for end in ("\x03", "kill"):
            async with in_terminal(command, environment, columns=300) as terminal:
                await terminal.shows("Your name?")
                pid = int((tmp_path / "pid").read_text())
                if end == "kill":
                    terminal.process.kill()
                else:
                    terminal.type(end)
                with trio.fail_after(20):
                    assert await terminal.process.wait() == (0 if end != "kill" else -9)
                await until(partial(lambda pid: not psutil.pid_exists(pid), pid))


async def test_while_somebody_signs_in_no_second_window_opens(kubectl: Kubectl, tmp_path: Path) -> None:
    """Whatever waits for it: what is read, and four forwards."""
    plugin = CredentialPlugin(tmp_path / "plugin")
    names = [f"f{number}" for number in range(4)]
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.ask()
        kubeconfig = write_kubeconfig(tmp_path / "secure", dev=cluster.context(plugin.user))
        lines = "".join(f"  {name}: {{target: service/web, ports: ':http'}}\n" for name in names)
        with plugin.window():
            async with supervising(tmp_path, kubectl, kubeconfig, f"forwards:\n{lines}") as instance:
                await until(lambda: plugin.windows)
                await trio.testing.wait_all_tasks_blocked(2)  # time for a second one
                assert len(plugin.windows) == 1
                assert instance.kubectls() == []
