"""What the words of kpf-supervise's command line ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from kpf_supervise.cli.program import main
from kpf_supervise.cli.words import Asked, Options, default_file, read
from kpf_supervise.config.contents import Config
from kpf_supervise.model import TEMPLATE, Cluster, Forward, Target


def asked(line: str, needs_none: bool = False, **options: Any) -> Asked:
    before, dashes, after = f" {line} ".partition(" -- ")
    return read(before.split(), after.split() if dashes else (), Options(**options), needs_none)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a few files, as the current one; there is no file of the user's own."""
    for name in ("forwards.yaml", "web", "8080", "deploy/kpf.yaml", "deploy/web", "conf.d/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


WEB = Target("service", "web")


@pytest.mark.parametrize(
    ("line", "options", "forwards"),
    [
        ("service/web 8080:http 9090", {}, [("web/http", WEB, 8080, "http"), ("web/9090", WEB, 9090, 9090)]),
        ("svc/web :80", {}, [("web", WEB, None, 80)]),
        ("db-0 5432", {}, [("db-0", Target("pod", "db-0"), 5432, 5432)]),
        ("deploy/web 80", {}, [("web", Target("deployment", "web"), 80, 80)]),
        ("conf.d 80", {}, [("conf.d", Target("pod", "conf.d"), 80, 80)]),
        ("8080 8081", {"selector": "app=a"}, [(f"app-a/{n}", Target("selector", "app=a"), n, n) for n in (8080, 8081)]),
        (
            "80",
            {"selector": "app in (a,b), !old"},
            [("app-in-a-b-old", Target("selector", "app in (a,b), !old"), 80, 80)],
        ),
        ("svc/web 81:80 :80", {}, [("web/81:80", WEB, 81, 80), ("web/80", WEB, None, 80)]),
    ],
)
def test_a_target_and_ports(
    line: str, options: dict[str, Any], forwards: list[tuple[str, Target, int | None, int | str]]
) -> None:
    found = asked(line, **options)
    assert found.file is None
    assert [(each.id, each.target, each.local, each.remote) for each in found.config.forwards] == forwards


def test_the_options_are_those_of_a_forward_in_a_file(here: Path) -> None:
    (here / "kc").write_text("")
    place: dict[str, Any] = {"namespace": "shop", "context": "kind-dev", "kubeconfig": "kc"}
    found = asked("service/web 80 -- make test", address="::1", lazy=True, **place)
    cluster = Cluster(here / "kc", "kind-dev")
    of_all = Forward(id="", target=TEMPLATE.target, remote=0, namespace="shop", cluster=cluster)
    web = Forward(
        id="web", target=WEB, local=80, remote=80, namespace="shop", cluster=cluster, address="::1", lazy=True
    )
    assert found == Asked(config=Config((web,), template=of_all), command=("make", "test"))
    assert asked("", needs_none=True, **place).config == Config((), template=of_all), "of the proxy"


@pytest.mark.parametrize(
    ("line", "file", "command"),
    [
        ("forwards.yaml", "forwards.yaml", []),
        ("forwards.yaml -- make test", "forwards.yaml", ["make", "test"]),
        ("forwards.yaml make test", "forwards.yaml", ["make", "test"]),
        ("forwards.yaml sleep 60", "forwards.yaml", ["sleep", "60"]),
        ("deploy/kpf.yaml", "deploy/kpf.yaml", []),
        ("deploy/web", "deploy/web", []),
        ("deploy/web sleep 60", "deploy/web", ["sleep", "60"]),
        ("deploy/nosuch.yaml", "deploy/nosuch.yaml", []),
        ("nosuch.yml", "nosuch.yml", []),
        ("./nosuch", "./nosuch", []),
        ("/dev/stdin", "/dev/stdin", []),
        ("conf.d", "conf.d", []),
    ],
)
def test_a_file(line: str, file: str, command: list[str]) -> None:
    assert asked(line) == Asked(Path(file), command=tuple(command))


@pytest.mark.parametrize(
    ("line", "options", "said"),
    [
        (
            "service/web",
            {},
            "service/web has no port. Name the port to forward, for example: kpf-supervise service/web 8",
        ),
        ("nosuch", {}, 'there is no file "nosuch". If it is a pod, name its port, too: kpf-supervise nosuch 8080:http'),
        ("", {"selector": "a=b"}, "-l a=b has no port. Name the port to forward, for example: kpf-supervise -l a=b"),
        ("svc/web", {"selector": "a=b"}, 'the target "svc/web" beside a selector. Keep one of the two'),
        ("service web 80", {}, "the target service/web in two words. Write: kpf-supervise service/web 80"),
        ("svc/web:80", {}, '"svc/web:80" has a port in it. Write: kpf-supervise service/web 80'),
        ("shop/svc/web 80", {}, '"shop/svc/web" has a namespace in it. Write: kpf-supervise service/web -n shop'),
        ("srvice/web 80", {}, "Did you mean service/web?"),
        ("svc/web 80 make test", {}, "A COMMAND follows after --."),
        ("svc/web 80 81:80 81:82", {}, "local port 81 is taken by a port before it"),
        ("svc/web :80 :80", {}, 'the port ":80" once more'),
        ("svc/web 80/udp", {}, "kubectl can't forward UDP"),
        ("svc/web 80", {"namespace": "Shop"}, '-n: "Shop" is not a name that Kubernetes accepts'),
        ("svc/web 80", {"context": "-x"}, '--context: "-x" is not a context\'s name'),
        ("svc/web 80", {"kubeconfig": "nosuch"}, '--kubeconfig: there is no file "nosuch"'),
        ("svc/web 80", {"address": "a"}, '--address: "a" is not an IP address'),
        ("forwards.yaml 8080", {}, "the port 8080 belongs to a TARGET. Write it beside the target in forwards.yaml"),
        ("forwards.yaml", {"namespace": "shop"}, "-n belongs to a TARGET on the command line. Write the same beside"),
        ("forwards.yaml", {"selector": "a=b"}, "-l belongs to a TARGET on the command line"),
        ("forwards.yaml", {"lazy": True}, "--lazy belongs to a TARGET on the command line"),
    ],
)
def test_what_is_wrong_is_told(line: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(click.UsageError) as raised:
        asked(line, **options)
    assert said in raised.value.message


def test_without_a_word_a_file_is_found(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(click.UsageError, match=r"(?s)Say what to forward.*service/web 8080:http.*--init.*--import"):
        asked("")
    users = here / "home/.config/kpf-supervise/config.yaml"
    others = here / "xdg/kpf-supervise/config.yaml"
    for file in (users, others):
        file.parent.mkdir(parents=True)
        file.write_text("")
    assert asked("-- make") == Asked(users, command=("make",), found=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here / "xdg"))
    assert asked("") == Asked(others, found=True)
    (here / "kpf.yaml").write_text("")
    assert asked("") == Asked(Path("kpf.yaml"), found=True)
    with pytest.raises(click.UsageError, match=r"-n belongs to a TARGET .* beside the target in kpf\.yaml"):
        asked("", namespace="shop")
    assert asked("", needs_none=True) == Asked(), "the sandbox or the proxy alone"
    with pytest.raises(click.UsageError, match="--lazy belongs to a TARGET, such as"):
        asked("", needs_none=True, lazy=True)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("--check service/web 8080:http 9090 -n shop", 0, "the command line: valid; it declares 2 forwards\n"),
        ("-n shop --check service/web -l", 2, "Option '-l' requires an argument"),
        ("8080 --check -l app=web", 0, "the command line: valid; it declares 1 forward\n"),
        ("--check", 0, "kpf.yaml: valid; it declares 1 forward\n"),
        ("--check nosuch.yaml", 2, "nosuch.yaml: cannot be read: No such file or directory. Check the path.\n"),
    ],
)
def test_check(line: str, code: int, said: str, here: Path) -> None:
    (here / "kpf.yaml").write_text("forwards: {web: {target: pod/a, ports: 80}}")
    done = CliRunner().invoke(main, line.split())
    assert (done.exit_code, said in done.output) == (code, True), done.output
    assert default_file() == Path("kpf.yaml")
