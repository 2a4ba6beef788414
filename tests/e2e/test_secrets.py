"""Nothing secret is shown or kept: a token, a proxy's password, and what plugins and servers say of them."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import trio

from kpf_supervise.sandbox import open_cluster, write_kubeconfig
from tests.conftest import both
from tests.kubectls import Kubectl
from tests.plugin import credential, plugin
from tests.program import PATIENCE, Instance, Refused, get, supervising

SECRET = "Gehe1m-Of-Today_42"
SHAPES = f"""Authorization: Bearer {SECRET}; {{"token": "{SECRET}"}} --token={SECRET} https://me:{SECRET}@host/"""
CONFIG = """
    forwards:
      good: {target: service/web, context: good, ports: ":http"}
      refused: {target: pod/db-0, context: good, ports: ":http"}
      forbidden: {target: service/search, context: good, ports: ":9200"}
      shared: {target: service/web, context: shared, ports: ":http"}
      plugin: {target: service/web, context: plugin, ports: ":http"}
      proxy: {target: service/web, context: proxy, ports: ":http"}
      wrong: {target: service/web, context: wrong, ports: ":http"}
    """


def started_by(instance: Instance) -> list[psutil.Process]:
    """The instance in the background, and its children."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("XDG_RUNTIME_DIR") == instance.environment["XDG_RUNTIME_DIR"]:
                found.append(process)
    assert len(found) > 3
    return found


@both
async def test_nothing_secret_is_shown_or_kept(kubectl: Kubectl, tmp_path: Path) -> None:
    """Of an instance in the background, with a kubectl that says as much as it can: its log, its state, its answers."""
    home = tmp_path / "home"
    home.mkdir()
    talkative = tmp_path / "kubectl"
    talkative.write_text(f'#!/bin/sh\nexec {kubectl.path} -v=9 "$@"\n')
    talkative.chmod(0o700)
    async with open_cluster(tmp_path) as cluster:
        cluster.tokens.add(SECRET)
        cluster.faults.answer(403, f"forbidden: {SHAPES}", path="/services/search")
        cluster.faults.answer(500, SHAPES, path="/db-0/portforward")
        (tmp_path / "said").write_text(SHAPES)
        (tmp_path / "given").write_text(credential(SECRET))
        gives = f"cat {tmp_path / 'said'} >&2; cat {tmp_path / 'given'}"
        variable = {"name": "LOGIN_TOKEN", "value": SECRET}
        good = {"token": SECRET}
        kubeconfig = write_kubeconfig(
            tmp_path / "secure",
            good=cluster.context(good),
            shared=cluster.context(plugin(tmp_path / "gives", gives, args=[SECRET], env=[variable])),
            plugin=cluster.context(plugin(tmp_path / "login", f"cat {tmp_path / 'said'} >&2; exit 1")),
            proxy=cluster.context(good, **{"proxy-url": f"http://me:{SECRET}@127.0.0.1:1"}),
            wrong=cluster.context(good, **{"proxy-url": f"http://me:{SECRET} @127.0.0.1:1"}),
        )
        shown = []
        options = ("--kubectl", str(talkative), "--persist", "--detach")
        async with supervising(home, None, kubeconfig, CONFIG, *options) as instance:
            with trio.fail_after(PATIENCE):
                assert await instance.process.wait() == 0
            try:
                async with instance.peer() as peer:
                    listed = {each["id"]: each for each in await peer.call("subscribe")}
                    wanted = {
                        "good": "active",
                        "shared": "active",
                        "refused": "failed",
                        "forbidden": "failed",
                        "plugin": "failed",
                        "proxy": "reconnecting",
                        "wrong": "reconnecting",
                    }
                    while {name: each["state"] for name, each in listed.items()} != wanted:
                        event = (await peer.next())["params"]
                        shown.append(json.dumps(event))
                        if event.get("forward"):
                            listed[event["forward"]] = event["portForward"]
                    assert (await get(listed["good"]["localPort"])).startswith(b"web-")
                    given = {"resource_type": "pod", "name": "db-0", "local_port": 0, "remote_port": "http"}
                    await peer.call("portforward:start", **given, id="mine")
                    shown += [json.dumps(await peer.call(method)) for method in ("portforward:list", "events")]
                    shown += [json.dumps(await peer.call("logs", id=name)) for name in listed]
                    for method, params in (("logins", {}), ("login", {"context": "shared"})):
                        shown.append(json.dumps(await peer.call(method, **params)))
                    wrong = {"context": "shared", "credential": SHAPES}
                    with pytest.raises(Refused) as refused:
                        await peer.call("login", **wrong)
                    shown.append(str(refused.value))
                    mine = Path(instance.environment["XDG_RUNTIME_DIR"])
                    shown += [path.read_text() for path in mine.rglob("kubeconfig-*")]
                    assert len(list(mine.rglob("kubeconfig-*"))) == 2
                    for each in started_by(instance):
                        with suppress(psutil.NoSuchProcess):  # some end meanwhile
                            shown.append(" ".join(each.cmdline()))
                for words in (["login", "shared"], ["list", "-o", "json"], ["logs", "refused"], ["events"]):
                    done = await instance.ctl(*words)
                    assert done.returncode == 0, done.stderr
                    shown.append(done.stdout + done.stderr)
            finally:
                await instance.ctl("shutdown")
        kept = {path.name: path.read_text() for path in home.rglob("*") if path.is_file() and ".kube" not in path.parts}
        assert len(kept) == 3, "the configuration, the state and the log"
        for text in (*shown, *kept.values(), *instance.output):
            assert SECRET not in text
        everything = "\n".join(shown)
        for trace in ("Bearer ***", "https://me:***@host", "plugin login failed: "):
            assert trace in everything, "it has been said, and blotted out"
