"""What the docs show in shell blocks is run as it is pasted, and does what the docs say."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import psutil
import trio

from benchmarks.__main__ import main as bench
from kpf_supervise.kpfctl import program
from kpf_supervise.kpfctl.group import main as ctl
from kpf_supervise.sandbox import Cluster, CredentialPlugin, objects, open_cluster, write_kubeconfig
from tests.pasting import blocks, pasting, shown, without_comments
from tests.program import PATIENCE, free_port
from tests.soak import main as soak
from tests.terminal import in_terminal
from tests.test_docs import PAGES, ROOT

README = ("README.md",)
COMMAND_LINE = ("command-line.md", "configuration.md", "importing.md", "teams.md")
PROXY = ("proxy.md",)
SCRIPTS = ("scripts-and-agents.md", "ci.md")
ASKING = ("asking-the-cluster.md",)
CONTROL = ("running-as-a-service.md", "kpfctl.md", "panel.md", "troubleshooting.md")
NOT_RUN = {  # why → lines
    "make reads it with -n: it takes minutes, or makes .venv": {
        "make",
        "make venv",
        "make demo",
        "make test",
        'make test ARGS="-k relay"',
        "KUBECTLS=/a/kubectl:/b/kubectl make test",
        "make check",
        "make soak",
        'make soak ARGS="--seed 7"',
        "make bench",
        'make bench ARGS="--only far,login"',
        'make bench ARGS="--target service/NAME --port PORT --namespace NAMESPACE"',
        "make screenshots",
        "make man",
        "make zipapp",
    },
    "it needs the extra web, and a browser: tests/e2e/test_panel_web.py": {"kpfctl panel --web"},
    "it installs or removes a program of the reader": {
        "uv tool install .",
        "pipx install .",
        "uv tool uninstall kpf-supervise",
    },
    "it changes what the reader's machine runs": {
        "systemctl --user enable --now kpf-supervise",
        "launchctl load ~/Library/LaunchAgents/kpf-supervise.plist",
    },
}
SKIPPED = {line for lines in NOT_RUN.values() for line in lines}
DEMO = "kpf-supervise --sandbox config.example.yaml"  # what `make demo` runs
NOTHING_THERE = "not found\n"  # the answer of a pod of the sandbox to a path that it does not know
EXAMPLE = (ROOT / "config.example.yaml").read_text()


def test_every_line_of_a_block_is_run_or_has_a_reason() -> None:
    assert {page for page in PAGES if set(shown(page)) - SKIPPED} == {
        *README,
        *COMMAND_LINE,
        *ASKING,
        *PROXY,
        *SCRIPTS,
        *CONTROL,
    }
    assert {line for page in PAGES for line in shown(page)} >= SKIPPED


def test_every_block_is_of_a_language_that_a_test_reads() -> None:
    """The Python block is run in test_control.py; others are read in test_docs.py, test_background.py and here."""
    languages = {language for page in PAGES.values() for language in re.findall(r"(?m)^```(\w+)$", page)}
    assert languages == {"sh", "python", "yaml", "json", "ini", "xml", "text"}
    assert [page for page in PAGES for _ in blocks(page, "python")] == ["control-protocol.md"]
    assert all(json.loads(block) for page in PAGES for block in blocks(page, "json"))


def test_every_command_of_the_programs_has_a_call_that_is_shown() -> None:
    assert program  # its verbs are read with it
    assert isinstance(ctl, click.Group)
    words = {word for page in PAGES for line in shown(page) if "kpfctl" in line for word in re.findall(r"\w+", line)}
    assert set(ctl.commands) <= words


async def test_make_knows_what_it_is_asked_for() -> None:
    lines = sorted(line for page in PAGES for line in shown(page) if re.search(r"\bmake\b", line) and line in SKIPPED)
    script = "\n".join(re.sub(r"\bmake\b", "make -n", line) for line in lines)
    of_make = re.compile("MAKE|ARGS$|WORKERS$|PYTHON$")  # what a make around these tests hands down
    environment = {name: value for name, value in os.environ.items() if not of_make.match(name)}
    done = await trio.run_process(["sh", "-e", "-c", script], cwd=ROOT, env=environment, capture_stdout=True)
    recipes = done.stdout.decode()
    assert f"exec .venv/bin/{DEMO} " in recipes
    for module, command in (("benchmarks", bench), ("tests.soak", soak)):
        calls = re.findall(rf"(?m)python -m {module}\b(.*)$", recipes)
        assert len(calls) >= 2
        for words in calls:
            command.make_context(module, shlex.split(words))


def docs_file(page: str) -> str:
    """The first configuration file of the page."""
    return blocks(page, "yaml")[0]


async def furnish(cluster: Cluster) -> None:
    """Add what the files of the README and of docs/configuration.md lead to. Their context is kind-dev."""
    deployments = [
        ("coredns", "kube-system", {"k8s-app": "kube-dns"}, {"http": 8080, "http-ready": 8181, "http-metrics": 9153}),
        ("web", "shop", {"app": "web"}, {"http": 8080, "echo": 9090}),
        ("search", "shop", {"app": "search", "tier": "backend"}, {"http": 9200}),
    ]
    cluster.store.add("namespaces", objects.namespace("shop"))
    for name, namespace, labels, ports in deployments:
        template = objects.template(labels, ports)
        cluster.store.add("deployments", objects.workload("Deployment", name, namespace, template))
    db = objects.template({"app": "db"}, {"db": 5432})
    cluster.store.add("statefulsets", objects.workload("StatefulSet", "db", "data", db, serviceName="db"))
    http, echo = ({"name": name, "port": port, "targetPort": name} for name, port in (("http", 80), ("echo", 9090)))
    cluster.store.add("services", objects.service("web", "shop", [http, echo], {"app": "web"}))
    await cluster.settled()
    write_kubeconfig(cluster.kubeconfig, **{"kind-dev": cluster.context({"token": "sandbox"})})


async def test_the_readme(tmp_path: Path) -> None:
    async with (
        open_cluster(tmp_path) as cluster,
        pasting(tmp_path, cluster.kubeconfig, *README, but=SKIPPED, also={DEMO}) as shell,
    ):
        await furnish(cluster)

        shell.write("config.example.yaml", EXAMPLE)
        async with shell.keep(DEMO) as demo:
            await demo.says(r"web/http +active ")
            first_screen = next(block for block in blocks("README.md") if "kubectl delete pod" in block)
            *lines, last = without_comments(first_screen)
            answers = [(await shell.paste(*lines)).splitlines()[0]]
            await demo.says(r"web/http +(moved|waiting) ")  # a script would be faster than the news of the deletion
            answers.append((await shell.paste(last)).strip())
            assert all(re.fullmatch(r"web-\w+-\w+", pod) for pod in answers), answers
            assert answers[0] != answers[1]
            block = next(block for block in blocks("README.md") if "--socks5-hostname" in block)
            reached = [(await shell.paste(line)).strip() for line in without_comments(block)]
            assert [pod.partition("-")[0] for pod in reached] == ["web", "db", "search"]
        assert await demo.exit_code() == 0

        async with shell.keep("kpf-supervise service/web 8080:http 9090 -n shop") as running:
            for id in ("web/http", "web/9090"):
                await running.says(rf"{id} +active ")
        assert await running.exit_code() == 0

        shell.write("forwards.yaml", docs_file("README.md"))
        checked = await shell.paste("kpf-supervise --check forwards.yaml")
        assert checked == "forwards.yaml: valid; it declares 3 forwards\n"
        (pod,) = [pod["metadata"]["name"] for pod in cluster.pods("kube-system")]
        metrics = await shell.paste("kpf-supervise forwards.yaml -- sh -c 'curl -s $KPF_METRICS_ADDR/metrics'")
        assert (metrics, cluster.connections[pod]) == (NOTHING_THERE, 1)

        async with shell.keep("kpf-supervise forwards.yaml") as running:
            await running.says(r"dns/8181 +active ")
            assert await shell.paste("curl localhost:8181/ready") == NOTHING_THERE
            assert cluster.connections[pod] == 2
            listed = await shell.paste("kpfctl list")
            assert re.search(rf"(?m)^dns/8181 +active .* {pod}", listed)
            assert await shell.paste("kpfctl start deployment/coredns 8080 --wait") == "coredns\n"
            before = await shell.forwards()
            assert before["coredns"]["state"] == "active"
            await shell.paste("kpfctl restart dns/8181")
            await shell.paste("kpfctl wait --timeout 1m")
            after = await shell.forwards()
            assert after["dns/8181"]["restarts"] == before["dns/8181"]["restarts"] + 1
            assert {name: each["state"] for name, each in after.items()} == {
                "dns/8181": "active",
                "dns/9153": "active",
                "metrics": "idle",
                "coredns": "active",
            }
            logs = await shell.paste("kpfctl logs dns/8181")
            assert len(re.findall(r" active ", logs)) == 2
            assert "Forwarding from 127.0.0.1:" in logs
        assert await running.exit_code() == 0


async def test_the_pages_on_the_command_line_and_the_file(tmp_path: Path) -> None:
    async with (
        open_cluster(tmp_path) as cluster,
        pasting(tmp_path, cluster.kubeconfig, *COMMAND_LINE, but=SKIPPED) as shell,
    ):
        await furnish(cluster)
        for name in ("config.example.yaml", "forwards.yaml"):
            shell.write(name, EXAMPLE)
        (tmp_path / "Makefile").write_text("test:\n\t@curl -s $$KPF_WEB_HTTP_ADDR\n")
        assert "valid; it declares 4 forwards" in await shell.paste("kpf-supervise --check forwards.yaml")
        for line in ("kpf-supervise forwards.yaml", "kpf-supervise --sandbox forwards.yaml"):
            async with shell.keep(line) as running:
                for id, state in (("web/http", "active"), ("web/9090", "active"), ("db", "active"), ("search", "idle")):
                    await running.says(rf"{id} +{state} ")
            assert await running.exit_code() == 0
        async with shell.keep("kpf-supervise --proxy 1080") as running:
            await running.says("any name of the cluster is reached through")
        assert "all would work" in await shell.paste("kpf-supervise --check --live forwards.yaml")
        await shell.paste("kpf-supervise --init -n shop > kpf.yaml")
        assert "service/web" in (tmp_path / "kpf.yaml").read_text()
        for line, ids in (
            ("kpf-supervise service/web 8080:http 9090 -n shop", ("web/http", "web/9090")),
            ("kubectl kpf -l app=search 9200 -n shop", ("app-search",)),
        ):
            async with shell.keep(line) as running:
                for id in ids:
                    await running.says(rf"{id} +active ")
            assert await running.exit_code() == 0
        for line in (
            "kpf-supervise service/web :http -n shop -- sh -c 'curl -s $KPF_WEB_ADDR'",
            "kpf-supervise forwards.yaml -- make test",
            "kpf-supervise --sandbox config.example.yaml -- sh -c 'curl -s $KPF_WEB_HTTP_ADDR'",
        ):
            assert (await shell.paste(line)).startswith("web-")
        (tmp_path / "start.sh").write_text(blocks("importing.md", "text")[0])
        await shell.paste("kpf-supervise --import start.sh > forwards.yaml")
        assert (tmp_path / "forwards.yaml").read_text() == docs_file("importing.md")
        assert "valid; it declares 3 forwards" in await shell.paste("kpf-supervise --check forwards.yaml")
        with_defaults = re.sub(r":-\d{4}", lambda _: f":-{free_port()}", docs_file("teams.md"))
        shell.write("kpf.yaml", with_defaults)
        assert "valid; it declares 3 forwards" in await shell.paste("kpf-supervise --check kpf.yaml")
        for line, states in (
            ("kpf-supervise kpf.yaml", {"web": "active", "db": "idle", "search": "idle"}),
            ("kpf-supervise kpf.yaml --group backend", {"db": "idle", "search": "idle"}),
            ("env WEB_PORT=0 NAMESPACE=dev kpf-supervise kpf.yaml", {"web": "active"}),
        ):
            async with shell.keep(line) as running:
                for id, state in states.items():
                    await running.says(rf"{id} +{state} ")
        await shell.paste("kpf-supervise --schema > kpf.schema.json")
        schema = json.loads((tmp_path / "kpf.schema.json").read_text())
        assert "forwards" in schema["properties"]


async def test_the_page_on_asking_the_cluster(tmp_path: Path) -> None:
    """The file that it shows is the one that is printed."""
    async with (
        open_cluster(tmp_path) as cluster,
        pasting(tmp_path, cluster.kubeconfig, *ASKING, but=SKIPPED) as shell,
    ):
        await furnish(cluster)
        mail = objects.service("mail", "shop", [], None, type="ExternalName", externalName="mail.example.com")
        cluster.store.add("services", mail)
        await shell.paste("kpf-supervise --init -n shop > kpf.yaml")
        made = (tmp_path / "kpf.yaml").read_text()
        assert re.sub(r"\d+:", ":", made) == re.sub(r"\d+:", ":", docs_file(*ASKING))
        shell.write("kpf.yaml", made)
        assert "all would work" in await shell.paste("kpf-supervise --check --live kpf.yaml")
        told = json.loads(await shell.paste("kpf-supervise --check --live kpf.yaml -o json"))
        assert [(each["id"], each["podPort"]) for each in told["forwards"]] == [("web/http", 8080), ("web/echo", 9090)]
        async with shell.keep("kpf-supervise kpf.yaml") as running:
            await running.says(r"web/http +idle ")
        assert await running.exit_code() == 0


async def test_the_page_on_the_proxy(tmp_path: Path) -> None:
    async with (
        open_cluster(tmp_path) as cluster,
        pasting(tmp_path, cluster.kubeconfig, *PROXY, but=SKIPPED) as shell,
    ):
        names, programs = map(without_comments, blocks("proxy.md"))
        async with shell.keep(names[0]) as running:
            await running.says("any name of the cluster is reached through")
            answers = [await shell.paste(line) for line in (*names[1:], programs[1])]
            assert all(re.fullmatch(r"web-\w+-\w+\n", answer) for answer in answers), answers
            assert list(await shell.forwards()) == ["proxy/web.dev:80"]
        assert await running.exit_code() == 0
        assert re.search(r"(?m)^web-\w+-\w+$", await shell.paste(programs[0]))


async def test_the_page_for_scripts(tmp_path: Path) -> None:
    async with (
        open_cluster(tmp_path) as cluster,
        pasting(tmp_path, cluster.kubeconfig, *SCRIPTS, but=SKIPPED) as shell,
    ):
        await furnish(cluster)
        to_web, to_db = shown("scripts-and-agents.md")
        to_psql = blocks("scripts-and-agents.md", "text")[0].replace("psql", "echo")
        try:
            assert (await shell.paste(to_web)).startswith("web-")
            facts = json.loads(await shell.paste(to_db))
            assert (facts["id"], facts["state"], facts["shared"]) == ("db", "active", False)
            printed = await shell.paste(then=to_psql.replace("5432", str(facts["remote"])))
            assert printed == f"-h localhost -p {facts['port']}\n"
            for_a_command, first_step, later_step = shown("ci.md")
            assert re.fullmatch(r"the database is at localhost:\d+\n", await shell.paste(for_a_command))
            first = await shell.paste(first_step)
            assert first == f"the database is at {await shell.paste(later_step)}"
        finally:
            await shell.paste(then="kpfctl shutdown")


@contextmanager
def killed_at_last(pid: int) -> Iterator[psutil.Process]:
    """A process in the background that does not outlive the block."""
    process = psutil.Process(pid)
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            process.kill()


async def test_the_pages_on_controlling_an_instance(tmp_path: Path) -> None:
    async with (
        open_cluster(tmp_path) as cluster,
        pasting(tmp_path, cluster.kubeconfig, *CONTROL, but=SKIPPED) as shell,
    ):
        await furnish(cluster)
        plugin = CredentialPlugin(tmp_path / "plugin")
        write_kubeconfig(cluster.kubeconfig, **{"kind-dev": cluster.context(plugin.user)})
        shell.write("forwards.yaml", docs_file("configuration.md"))
        told = await shell.paste("kpf-supervise --detach forwards.yaml")
        with killed_at_last(int(re.findall(r"pid (\d+)", told)[0])) as instance:
            assert Path(re.findall(r"its log: (.*?);", told)[0]).is_file()

            async def states() -> dict[str, str]:
                return {name: each["state"] for name, each in (await shell.forwards()).items()}

            await shell.paste("kpfctl wait")
            declared = {"web/http": "active", "web/9090": "active", "db": "active", "search": "idle"}
            assert await states() == declared
            assert re.search(r"(?m)^web/http +active ", await shell.paste("kpfctl -f forwards.yaml list"))
            assert re.search(r"(?m)^db +active .* data .* kind-dev ", await shell.paste("kpfctl list -o wide"))
            assert [line.split()[0] for line in (await shell.paste("kpfctl ls 'web/*'")).splitlines()] == [
                "ID",
                "web/http",
                "web/9090",
            ]
            assert re.search(r"State: +active for ", await shell.paste("kpfctl describe web/http"))
            assert re.search(r"\d+ +3/4 +\S+/forwards.yaml ", await shell.paste("kpfctl instances"))
            async with shell.keep("kpfctl list --watch") as watching:
                await watching.says(r"search +idle")

                started = "kpfctl start service/web 8081:http 9091:9090 -n shop --wait"
                assert await shell.paste(started) == "web-http\nweb-9090\n"
                await watching.says(r"web-http +active")
            started = "kpfctl start service/web :http :9090 --name extra --wait"
            assert await shell.paste(started) == "extra-http\nextra-9090\n"
            more = dict.fromkeys(("web-http", "web-9090", "extra-http", "extra-9090"), "active")
            assert await states() == declared | more
            found = "kpfctl start -l app=search :9200 -n shop --lazy --name found"
            assert await shell.paste(found, then="kpfctl stop found") == "found\n"
            web = (await shell.forwards())["web/http"]["localPort"]
            assert await shell.paste("kpfctl ensure service/web http -n shop") == f"localhost:{web}\n"
            ensured = json.loads(await shell.paste("kpfctl ensure -l app=search http -n shop -o json"))
            assert (ensured["shared"], ensured["state"]) == (False, "active")
            await shell.paste(then=f"kpfctl --socket {ensured['socket']} shutdown")
            await shell.paste("kpfctl stop extra-http db")
            del more["extra-http"]
            assert await states() == declared | more | {"db": "stopped"}

            assert re.search(r"(?m)^db +stopped ", await shell.paste("kpfctl list --group backend"))
            assert await shell.paste("kpfctl start --group backend --wait") == "db\n"
            await shell.paste("kpfctl stop --group backend")
            assert await states() == declared | more | {"db": "stopped"}

            await shell.paste(then="kpfctl stop web/http")
            assert await shell.paste("kpfctl start web/http", then="kpfctl wait web/http") == "web/http\n"

            active = {name for name, state in (await states()).items() if state == "active"}
            for line, whom in (("kpfctl restart web/http", {"web/http"}), ("kpfctl restart --all", active)):
                before = await shell.forwards()
                await shell.paste(line)
                await shell.paste("kpfctl wait")
                after = await shell.forwards()
                fresh = {name for name in after if after[name]["restarts"] > before[name]["restarts"]}
                assert fresh == whom
            await shell.paste("kpfctl wait web/http db --timeout 1m")
            assert await states() == declared | more

            assert len(plugin.runs) == 2  # one of them for the instance in the background
            assert await shell.paste("kpfctl login kind-dev") == "signed in to kind-dev\n"
            assert len(plugin.runs) == 3

            async with shell.keep("kpfctl events --follow -o json | jq .message") as following:
                await following.says('^".*"\n')
            async with shell.keep("kpfctl logs web/http --follow") as following:
                await following.says(r"web/http +active ")
            curled = await shell.paste('eval "$(kpfctl env)" && curl "$KPF_WEB_HTTP_ADDR"')
            assert curled.startswith("web-")
            written = await shell.paste("kpfctl env -o dotenv web > .env", then="cat .env")
            assert len(re.findall(r"(?m)^KPF_WEB_(HTTP|9090)_(HOST|PORT|ADDR)=\S+$", written)) == 6
            async with in_terminal(shell.command("kpfctl panel"), shell.environment) as terminal:
                await terminal.shows("web/http")
                terminal.type("q")
                with trio.fail_after(PATIENCE):
                    assert await terminal.process.wait() == 0
            shell.write(
                "forwards.yaml", docs_file("configuration.md") + "  new: {target: pod/new, ports: ':80', lazy: true}\n"
            )
            await shell.paste("kpfctl reload")
            assert (await states())["new"] == "idle"
            words = await shell.paste('eval "$(kpfctl completion bash)"', shell="bash", then="complete -p kpfctl")
            assert "written to " in await shell.paste("kpfctl completion bash --install")
            assert re.match("complete .*-F _kpf_complete kpfctl$", words)
            await shell.paste("kpfctl -f forwards.yaml shutdown")
            await trio.to_thread.run_sync(instance.wait, PATIENCE)

        async with shell.keep("kpf-supervise --persist forwards.yaml") as running:
            await running.says(r"search +idle")
            await shell.call("portforward:stop", id="db")
            await shell.paste("kpfctl shutdown")
            assert await running.exit_code() == 0
        (state,) = (tmp_path / ".local/state/kpf-supervise").glob("forwards-*.json")
        assert list(json.loads(state.read_text())["stopped"]) == ["db"]
