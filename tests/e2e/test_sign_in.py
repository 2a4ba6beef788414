"""One sign-in for all kubectls of a user: a plugin that takes its time, whose tokens expire, that fails, is refused."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
import trio
import trio.testing

from kpf_supervise.forwarding.tunnel import START_TIMEOUT
from kpf_supervise.kubectl.process import TIMEOUT
from kpf_supervise.sandbox import Cluster, CredentialPlugin, open_cluster, write_kubeconfig
from tests.conftest import NEWEST, OLDEST, both
from tests.kubectls import Kubectl
from tests.plugin import credential
from tests.plugin import plugin as plugin_script
from tests.program import PATIENCE, Instance, get, supervising, until
from tests.terminal import in_terminal


class Scene:
    """A cluster that only tokens of the plugin open, and an instance with some forwards to it."""

    def __init__(self, cluster: Cluster, plugin: CredentialPlugin, instance: Instance, names: list[str]) -> None:
        self.cluster = cluster
        self.plugin = plugin
        self.instance = instance
        self.names = names

    async def new_tunnels(self) -> None:
        """End all tunnels, and wait until each forward has another one."""
        before = len(self.instance.events)
        self.cluster.cut_tunnels()

        def again() -> set[str]:
            later = self.instance.events[before:]
            return {str(each.get("forward")) for each in later if each["event"] in ("active", "moved")}

        await self.instance.told(lambda: set(self.names) <= again())

    def notices(self) -> list[str]:
        return [str(e["message"]) for e in self.instance.events if e["event"] == "notice"]

    def alive(self) -> list[int]:
        """Runs of the plugin that have not ended."""
        return [pid for pid in self.plugin.runs if psutil.pid_exists(pid)]


@asynccontextmanager
async def scene(
    folder: Path, kubectl: Kubectl, count: int = 2, plugin: CredentialPlugin | None = None, more: str = "", **extra: str
) -> AsyncIterator[Scene]:
    plugin = plugin or CredentialPlugin(folder / "plugin")
    names = [f"f{number}" for number in range(count)]
    async with open_cluster(folder) as cluster:
        cluster.tokens.ask()
        user = plugin.user
        user["exec"] |= extra
        kubeconfig = write_kubeconfig(folder / "secure", dev=cluster.context(user))
        lines = "".join(f"  {name}: {{target: service/web, ports: ':http'}}\n" for name in names)
        async with supervising(folder, kubectl, kubeconfig, f"{more}forwards:\n{lines}") as instance:
            yield Scene(cluster, plugin, instance, names)


@both
async def test_ten_forwards_take_one_run(kubectl: Kubectl, tmp_path: Path) -> None:
    plugin = CredentialPlugin(tmp_path / "plugin")
    plugin.behave(takes=0.5)
    async with scene(tmp_path, kubectl, 10, plugin) as found:
        await found.instance.all_active(*found.names)
        assert len(plugin.runs) == 1
        assert (await get(found.instance.port("f0"))).startswith(b"web-")
        assert found.notices() == []


@both
async def test_a_window_is_opened_once_and_waited_for(kubectl: Kubectl, tmp_path: Path) -> None:
    """However long it takes: the state says what is waited for, clients are held, nothing is started or ended."""
    plugin = CredentialPlugin(tmp_path / "plugin")
    with ExitStack() as user:
        user.enter_context(plugin.window())
        async with scene(tmp_path, kubectl, 4, plugin) as found:
            instance = found.instance
            await instance.all_last("waiting", *found.names)
            waiting = [str(e["message"]) for e in instance.events if e["event"] == "waiting"]
            assert all(each.startswith("signing in with python") and "are held" in each for each in waiting), waiting
            await until(lambda: found.notices() == ["dev: python says: opening a window in the browser"])
            proxies = instance.kubectls("proxy")
            assert (instance.kubectls(), len(proxies)) == ([], 1)
            async with instance.peer() as peer:
                port = (await peer.list())["f0"]["localPort"]
            async with trio.open_nursery() as nursery:
                answers: list[bytes] = []

                async def ask() -> None:
                    answers.append(await get(port))

                nursery.start_soon(ask)
                user.close()
            assert answers[0].startswith(b"web-")
            await instance.all_last("active", *found.names)
            assert instance.kubectls("proxy") == proxies
            assert (len(plugin.runs), len(plugin.windows), len(found.notices())) == (1, 1, 1)
            assert {"failed", "reconnecting"}.isdisjoint(e["event"] for e in instance.events)


@pytest.mark.long
async def test_no_limit_runs_while_somebody_signs_in(tmp_path: Path) -> None:
    """Of kubectls that were refused and wait for another credential: one that reads, and tunnels that start."""
    async with scene(tmp_path, NEWEST, 2) as found:
        await found.instance.all_active(*found.names)
        with ExitStack() as user:
            user.enter_context(found.plugin.window())
            found.cluster.tokens.revoke()
            found.cluster.cut_tunnels()
            found.cluster.end_watches()
            await found.instance.all_last("waiting", *found.names)
            before = found.instance.kubectls("proxy")
            await trio.sleep(max(START_TIMEOUT, TIMEOUT) + 2)
            assert found.instance.kubectls("proxy") == before
            await found.instance.all_last("waiting", *found.names)
        await found.instance.all_last("active", *found.names)
        assert (len(found.plugin.runs), len(found.plugin.windows)) == (2, 1)
        assert found.notices() == ["dev: python says: opening a window in the browser"]
        assert "failed" not in [e["event"] for e in found.instance.events]


@both
async def test_a_credential_that_expires(kubectl: Kubectl, tmp_path: Path) -> None:
    """Each expiry takes one run, however many kubectls there are."""
    plugin = CredentialPlugin(tmp_path / "plugin")
    plugin.behave(lifetime=3.0)
    async with scene(tmp_path, kubectl, 4, plugin) as found:
        await found.instance.all_active(*found.names)
        for _ in range(3):
            before = len(plugin.runs)
            await trio.sleep(3.5)  # it expires, and no event tells that
            await found.new_tunnels()
            assert len(plugin.runs) > before
        # its end is told in whole seconds, and it is not given out in the last tenth of its life
        assert all(later - sooner > 1.7 for sooner, later in pairwise(plugin.begun)), "while the last one was valid"
        assert {"failed", "waiting"}.isdisjoint(e["event"] for e in found.instance.events)
        assert found.notices() == []


@both
async def test_a_credential_that_is_revoked(kubectl: Kubectl, tmp_path: Path) -> None:
    """All kubectls that are refused share one new sign-in; no forward fails."""
    async with scene(tmp_path, kubectl, 4) as found:
        await found.instance.all_active(*found.names)
        found.cluster.tokens.revoke()
        await found.new_tunnels()
        assert len(found.plugin.runs) == 2
        assert "failed" not in [e["event"] for e in found.instance.events]
        assert found.notices() == []


@both
async def test_whatever_it_gives_is_refused(kubectl: Kubectl, tmp_path: Path) -> None:
    """Signing in again and again would not help."""
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.add("none of the plugin's")
        user = plugin_script(tmp_path / "gives", f"echo '{credential('useless')}'")
        kubeconfig = write_kubeconfig(tmp_path / "secure", dev=cluster.context(user))
        config = "forwards: {web: {target: service/web, ports: ':http'}}"
        async with supervising(tmp_path, kubectl, kubeconfig, config) as instance:
            told = await instance.until("failed", "web", cause="credential-plugin")
            assert "the API server refuses what the kubeconfig's credential plugin gives gives" in told["message"]
            assert "kpfctl login dev" in told["message"]


@both
async def test_a_sign_in_that_fails_after_a_while(kubectl: Kubectl, tmp_path: Path) -> None:
    """Told once, with the next step; not begun again, until somebody wants it. What works goes on."""
    async with scene(tmp_path, kubectl, 3) as found:
        instance, plugin = found.instance, found.plugin
        await instance.all_active(*found.names)
        async with await trio.open_tcp_stream("127.0.0.1", instance.port("f0")) as client:
            plugin.behave(takes=3.5, fails="the window was closed")
            found.cluster.tokens.revoke()
            kept, *others = instance.kubectls()
            for other in others:
                other.kill()
            failed = await instance.until("failed", cause="credential-plugin")
            assert "plugin python failed: the window was closed" in failed["message"]
            assert "kpfctl login dev" in failed["message"]
            await until(lambda: len(found.notices()) == 1)
            assert "plugin python failed: the window was closed. Sign in with: kpfctl login dev" in found.notices()[0]
            runs = len(plugin.runs)
            found.cluster.end_watches()
            await trio.sleep(3)  # no storm, that is: nothing
            assert len(plugin.runs) == runs
            assert kept.is_running()
            wrong = await instance.ctl("login", "dev")
            assert (wrong.returncode, "the window was closed" in wrong.stderr) == (1, True), wrong
            assert len(plugin.runs) == runs + 1
            plugin.behave(takes=0.0, fails="")
            right = await instance.ctl("login")
            assert (right.returncode, right.stdout) == (0, "signed in to dev\n"), right
            await instance.all_last("active", *found.names)
            assert len(plugin.runs) == runs + 2
            await client.aclose()


async def test_a_quick_failure_is_tried_again_by_itself(tmp_path: Path) -> None:
    plugin = CredentialPlugin(tmp_path / "plugin")
    plugin.behave(fails="no network")
    async with scene(tmp_path, NEWEST, 3, plugin) as found:
        await found.instance.all_last("failed", *found.names)
        await until(lambda: len(plugin.runs) >= 2)
        plugin.behave(fails="")
        await found.instance.all_last("active", *found.names)
        assert len(plugin.runs) <= 5


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@both
async def test_no_plugin_is_left(kubectl: Kubectl, how: signal.Signals, tmp_path: Path) -> None:
    plugin = CredentialPlugin(tmp_path / "plugin")
    with plugin.window():
        async with scene(tmp_path, kubectl, 2, plugin) as found:
            await until(lambda: plugin.windows)
            code = await found.instance.stop(how)
            assert code == (0 if how == signal.SIGINT else -signal.SIGKILL)
            await until(lambda: not found.alive())


@both
async def test_a_kubectl_that_ends_leaves_no_helper(kubectl: Kubectl, tmp_path: Path) -> None:
    plugin = CredentialPlugin(tmp_path / "plugin")
    plugin.behave(lifetime=2.0)
    async with scene(tmp_path, kubectl, 1, plugin) as found:
        await found.instance.all_active(*found.names)
        with plugin.window():
            found.cluster.tokens.revoke()
            found.cluster.end_watches()
            await until(lambda: found.instance.kubectls("-IS"))
            await until(lambda: plugin.windows)
            (proxy,) = found.instance.kubectls("proxy")
            proxy.kill()
            await until(lambda: len(found.instance.kubectls("-IS")) == 1)  # the plugin, and no helper
        await found.instance.all_last("active", *found.names)


@both
async def test_each_kubectl_signs_in_by_itself_if_that_is_wanted(kubectl: Kubectl, tmp_path: Path) -> None:
    async with scene(tmp_path, kubectl, 2, more="credentials: each\n") as found:
        await found.instance.all_active(*found.names)
        assert len(found.plugin.runs) == 3  # what reads, and two tunnels


async def test_a_kubectl_that_is_ended_while_it_signs_in_leaves_no_plugin(tmp_path: Path) -> None:
    """kubectl itself would leave it running, with its window."""
    plugin = CredentialPlugin(tmp_path / "plugin")
    async with scene(tmp_path, NEWEST, 1, plugin, more="credentials: each\n") as found:
        await found.instance.all_active("f0")
        with plugin.window():
            async with found.instance.peer() as peer:
                await peer.call("restart", id="f0")
                await until(lambda: plugin.windows)
                assert plugin.windows == found.alive()
                await peer.call("portforward:stop", id="f0")
            await until(lambda: found.alive() == [])


async def test_a_kuberc_that_restricts_plugins_leaves_them_to_kubectl(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube/kuberc").write_text("credentialPluginPolicy: DenyAll\n")  # kubectl before 1.35 knows of none
    async with scene(tmp_path, OLDEST, 2) as found:
        await found.instance.all_active(*found.names)
        assert len(found.plugin.runs) == 3
        (told,) = found.notices()
        assert "kuberc says which credential plugins kubectl may run" in told


async def test_a_dispatcher_asks_the_api_server_first_and_that_takes_no_run_of_its_own(tmp_path: Path) -> None:
    """As gcloud's does, with the credentials of the user, whatever kubectl is asked for."""
    folder = tmp_path / "sdk"
    folder.mkdir()
    real = folder / "kubectl.{}.{}".format(*NEWEST.version)
    real.symlink_to(NEWEST.path)
    (folder / "kubectl").write_text(f'#!/bin/sh\n{real} get --raw /version >/dev/null 2>&1\nexec {real} "$@"\n')
    (folder / "kubectl").chmod(0o755)
    async with scene(tmp_path, replace(NEWEST, path=str(folder / "kubectl"))) as found:
        await found.instance.all_active(*found.names)
        await found.new_tunnels()
        assert len(found.plugin.runs) == 1
        assert found.notices() == []


@both
async def test_the_plugin_is_told_and_run_as_by_kubectl(kubectl: Kubectl, tmp_path: Path) -> None:
    """Relative to the kubeconfig's folder, with its arguments and variables, and the cluster if it wants to know."""
    folder = tmp_path / "files"
    folder.mkdir()
    script = f'echo "$0 $1 $WHO $KUBERNETES_EXEC_INFO" >{tmp_path}/told; cat {tmp_path}/credential'
    user = plugin_script(folder / "login", script, args=["--now"], provideClusterInfo=True)
    user["exec"] |= {"command": "./login", "env": [{"name": "WHO", "value": "me"}]}
    (tmp_path / "credential").write_text(credential("good"))
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.add("good")
        kubeconfig = write_kubeconfig(folder / "secure", dev=cluster.context(user))
        config = "forwards: {web: {target: service/web, ports: ':http'}}"
        async with supervising(tmp_path, kubectl, kubeconfig, config) as instance:
            await instance.all_active("web")
    command, word, who, info = (tmp_path / "told").read_text().split(" ", 3)
    assert (command, word, who) == (f"{folder}/login", "--now", "me")
    told = json.loads(info)
    assert (told["apiVersion"], told["kind"]) == ("client.authentication.k8s.io/v1beta1", "ExecCredential")
    facts = cluster.context({})[1]
    assert told["spec"]["cluster"]["server"] == facts["server"]
    assert told["spec"]["cluster"]["certificate-authority-data"] == facts["certificate-authority-data"]
    assert told["spec"]["interactive"] is False


async def test_kpfctl_runs_a_plugin_that_asks_on_its_own_terminal(tmp_path: Path) -> None:
    (tmp_path / "credential").write_text(credential("good"))
    prompt = "printf 'Your name? ' >&2; read word || { echo 'no terminal to ask on' >&2; exit 1; }"
    user = plugin_script(tmp_path / "asks", f'{prompt}; [ "$word" = me ] && cat {tmp_path / "credential"}')
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.add("good")
        kubeconfig = write_kubeconfig(tmp_path / "secure", dev=cluster.context(user))
        config = "forwards: {web: {target: service/web, ports: ':http'}}"
        async with supervising(tmp_path, NEWEST, kubeconfig, config) as instance:
            await instance.until("failed", "web")
            command = [sys.executable, "-m", "kpf_supervise.kpfctl", "login"]
            for answer, code in (("you", 1), ("me", 0)):
                async with in_terminal(command, instance.environment) as terminal:
                    await terminal.shows("Your name?")
                    terminal.type(f"{answer}\n")
                    with trio.fail_after(PATIENCE):
                        assert await terminal.process.wait() == code
            await instance.all_last("active", "web")
            assert "good" not in str(instance.events)


async def test_a_kubeconfig_that_changes_is_read_again(tmp_path: Path) -> None:
    """Also where a sign-in waits for somebody: the user may have another way to sign in now, or another plugin."""
    asks = plugin_script(tmp_path / "asks", "echo 'no terminal to ask on' >&2; exit 1")
    gives = plugin_script(tmp_path / "gives", f"echo '{credential('good')}'")
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.add("good", "better")
        kubeconfig = write_kubeconfig(tmp_path / "secure", dev=cluster.context(asks))
        config = "forwards: {web: {target: service/web, ports: ':http'}}"
        async with supervising(tmp_path, NEWEST, kubeconfig, config) as instance:
            await instance.until("failed", "web")
            write_kubeconfig(kubeconfig, dev=cluster.context(gives))
            await instance.until("active", "web")
            cluster.tokens.revoke()
            cluster.tokens.add("better")
            write_kubeconfig(kubeconfig, dev=cluster.context({"token": "better"}))
            cluster.cut_tunnels()
            await instance.until("active", "web")
            assert not [e for e in instance.events if "says" in str(e["message"])]


async def test_the_socket_for_credentials_may_vanish(tmp_path: Path) -> None:
    async with scene(tmp_path, NEWEST, 2) as found:
        await found.instance.all_active(*found.names)
        runtime = Path(found.instance.environment["XDG_RUNTIME_DIR"])
        (gone,) = runtime.glob("*/api-*/c")
        shutil.rmtree(gone.parent)
        found.cluster.tokens.revoke()
        await found.new_tunnels()
        assert len(found.plugin.runs) <= 3


@both
async def test_only_our_kubectls_get_it(kubectl: Kubectl, tmp_path: Path) -> None:
    async with scene(tmp_path, kubectl, 1) as found:
        await found.instance.all_active(*found.names)
        runtime = Path(found.instance.environment["XDG_RUNTIME_DIR"])
        (socket,) = runtime.glob("*/api-*/c")
        assert (socket.parent.stat().st_mode & 0o777, socket.stat().st_mode & 0o777) == (0o700, 0o600)
        for asks in (b"\n", b"nobody {}\n", b"\xff\n", b"1" * 2_000_000 + b"\n"):
            async with await trio.open_unix_socket(str(socket)) as stream:
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(asks)
                    assert b"".join([piece async for piece in stream]).startswith(b"-this kubectl is none of")
        await found.new_tunnels()


@both
async def test_a_user_of_several_clusters_signs_in_once(kubectl: Kubectl, tmp_path: Path) -> None:
    """If the plugin is told the cluster, it signs in to each, in turn."""
    plugin = CredentialPlugin(tmp_path / "plugin")
    plugin.behave(takes=0.5)
    contexts = ("one", "two")
    rows = "".join(f"  {name}: {{target: service/web, context: {name}, ports: ':http'}}\n" for name in contexts)
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.ask()
        for told, runs in ((False, 1), (True, 2)):
            user = plugin.user
            user["exec"]["provideClusterInfo"] = told
            kubeconfig = write_kubeconfig(tmp_path / "secure", **dict.fromkeys(contexts, cluster.context(user)))
            merged = json.loads(kubeconfig.read_text())
            for each in merged["contexts"]:
                each["context"]["user"] = "one"
            kubeconfig.write_text(json.dumps(merged))
            before = len(plugin.runs)
            async with supervising(tmp_path, kubectl, kubeconfig, f"forwards:\n{rows}") as instance:
                await instance.all_active("one", "two")
                assert len(plugin.runs) == before + runs
