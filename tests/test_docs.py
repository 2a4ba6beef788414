"""The docs can't go stale: every option, state, cause, event and target that the program knows stands in them."""

from __future__ import annotations

import plistlib
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import kpf_supervise
from kpf_supervise.cli.program import main
from kpf_supervise.config.errors import ConfigError
from kpf_supervise.config.schema import FORWARD, RECONNECT, TOP, schema
from kpf_supervise.control.methods import METHODS
from kpf_supervise.events import serialize
from kpf_supervise.kpfctl import program
from kpf_supervise.kpfctl.group import main as ctl
from kpf_supervise.loading.loader import parse
from kpf_supervise.model import TARGET_KINDS, TEMPLATE, Cause, State, Status
from kpf_supervise.panel_state.keys import KEYS, MOVES
from tests.faults.matrix import FAULTS, row

ROOT = Path(__file__).parent.parent
SOURCE = Path(kpf_supervise.__file__).parent
PAGES = {page.name: page.read_text() for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))}
EXAMPLE = str(ROOT / "config.example.yaml")
DOCS = "\n".join(PAGES.values())


def commands() -> Iterator[click.Command]:
    assert program  # its verbs are read with it
    yield main
    yield ctl
    yield from ctl.commands.values()


def test_every_command_line_option_is_shown() -> None:
    for command in commands():
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                for option in parameter.opts:
                    assert re.search(rf"[ `(]{option}\b", DOCS), (command.name, option)


def test_every_verb_and_method_is_shown_and_every_verb_has_an_example() -> None:
    assert len(ctl.commands) > 10
    for name, verb in ctl.commands.items():
        assert f"kpfctl {name}" in DOCS
        assert f"kpfctl {name}" in (verb.epilog or ""), name
        assert verb.help
    for method, parameters in METHODS.items():
        assert all(f"`{word}`" in DOCS for word in (method, *parameters)), method
    for word in serialize.port_forward(Status(forward=TEMPLATE)):
        assert f"`{word}`" in DOCS, word


def test_every_key_of_the_panel_is_shown() -> None:
    table = PAGES["panel.md"].partition("| key |")[2].partition("\n\n")[0]
    shown = re.findall(r"`([^` ]+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:]))
    assert {*shown} == {word for key in (*KEYS, *MOVES) for word in key.shown.split()}


def test_the_launchd_agent_is_a_plist() -> None:
    (text,) = re.findall(r"```xml\n(.*?)```", PAGES["running-as-a-service.md"], re.DOTALL)
    assert plistlib.loads(text.encode())["Label"] == "kpf-supervise"


def test_every_option_of_the_file_is_shown_in_the_docs_and_in_the_example() -> None:
    example = (ROOT / "config.example.yaml").read_text()
    for option in {*TOP, *FORWARD, *RECONNECT}:
        assert f"`{option}`" in DOCS or f"{option}:" in DOCS, option
        assert f"{option}:" in example, option


def test_the_table_of_faults_is_the_matrix() -> None:
    table = DOCS.partition("| what happens |")[2].partition("\n\n")[0].splitlines()[2:]
    assert table == [row(fault) for fault in FAULTS]


def test_the_readme_is_a_front_door() -> None:
    assert len(PAGES["README.md"].splitlines()) < 150


def test_links_lead_somewhere() -> None:
    for name, text in PAGES.items():
        folder = ROOT if (ROOT / name).exists() else ROOT / "docs"
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (folder / link).exists(), (name, link)


def test_every_module_that_the_architecture_names_is_there() -> None:
    named = re.findall(r"`(\w+)/(\w+)(?:\.py)?`", PAGES["architecture.md"])
    ours = [(room, module) for room, module in named if (SOURCE / room).is_dir()]
    assert len(ours) > 20
    for room, module in ours:
        assert (SOURCE / room / f"{module}.py").exists(), (room, module)


def test_every_state_and_kind_of_target_is_shown() -> None:
    for state in State:
        assert f"| `{state}` |" in DOCS, state
    for kind in TARGET_KINDS:
        assert f"`{kind}/…`" in DOCS, kind


def test_every_cause_is_shown() -> None:
    table = DOCS.partition("| cause |")[2].partition("\n\n")[0]
    shown = re.findall(r"`([a-z-]+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:]))
    assert sorted(shown) == sorted(Cause)


def test_the_configurations_are_right() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    assert blocks
    for block in blocks:
        if not block.startswith("scrape_configs:"):  # Prometheus' own
            parse(block, "docs", {"CONTEXT": "kind-dev"})


def test_the_file_that_a_wrong_call_shows_is_right() -> None:
    shown = CliRunner().invoke(main, []).stderr
    block = textwrap.dedent("".join(line for line in shown.splitlines(keepends=True) if line.startswith("    ")))
    assert len(block.splitlines()) == 3
    assert parse(block, "f").forwards[0].local == 8080


def test_the_mistakes_are_what_is_printed(tmp_path: Path) -> None:
    shown = [line for line in DOCS.splitlines() if line.startswith("forwards.yaml:")]
    assert shown
    file = tmp_path / "forwards.yaml"
    file.write_text(
        "forwards:\n  web:\n    target: service/web\n    ports: 8080\n  api:\n    prots: 80\n    target: pod/api-1\n"
        "  db:\n    target: pod/db-0\n    ports: 8080:5432\n"
    )
    result = CliRunner().invoke(main, ["--check", str(file)])
    assert result.exit_code == 2
    printed = result.stderr.replace(f"{tmp_path}/", "").splitlines()
    assert set(shown) <= set(printed), printed


def test_the_answers_to_what_is_written_out_of_habit_are_those_of_the_program() -> None:
    table = PAGES["configuration.md"].partition("| written | answer |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(table) == 9
    for line in table:
        written, answer = (cell.strip().strip("`") for cell in line.strip("|").split("|"))
        key = {"service": "target", "port": "ports"}.get(written.partition(":")[0], written.partition(":")[0])
        good = {"target": "target: service/a", "ports": "ports: 80"}
        lines = [written, *(text for name, text in good.items() if name != key)]
        with pytest.raises(ConfigError) as raised:
            parse("\n    ".join(["forwards:\n  it:", *lines]), "f", {})
        (said,) = map(str, raised.value.problems)
        assert answer in said


def test_every_output_of_env_is_shown() -> None:
    (output,) = [each for each in ctl.commands["env"].params if each.name == "output"]
    assert isinstance(output.type, click.Choice)
    for name in output.type.choices:
        assert re.search(rf"(?m)^\| `{name}`", PAGES["kpfctl.md"]), name


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--check", EXAMPLE], 0, "valid; it declares 4 forwards"),
        (["--check", "nosuch.yaml"], 2, "nosuch.yaml: cannot be read: No such file or directory"),
        ([], 2, "Say what to forward, as for kubectl port-forward"),
        (["--nosuch"], 2, "No such option"),
        (["--metrics", "web.shop:80", "f.yaml"], 2, "Invalid value for '--metrics'"),
        (["--check", EXAMPLE, "--group", "a"], 2, 'no forward of the file is in the group "a". It has none: write gr'),
        (["--schema"], 0, schema()["title"]),
        (["--version"], 0, "kpf-supervise 0."),
        (["-h"], 0, "Exit codes: 0 done; 1 it failed; 2 usage or configuration; with"),
    ],
)
def test_commands_that_run_nothing(words: list[str], code: int, text: str) -> None:
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, text in result.output) == (code, True), result.output
