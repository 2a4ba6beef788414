from __future__ import annotations

import json
import shlex
import shutil
import subprocess

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kpf_supervise.runtime.environment import (
    compose_lines,
    dotenv_lines,
    fish_lines,
    json_lines,
    seen_from_container,
    shell_lines,
    variables,
)
from tests.anything import EXAMPLES, RANDOM, made, text

pytestmark = RANDOM

EVIL = "x; echo owned $(echo owned) `echo owned` ' \" \\ \n # & |"


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
@given(made(text), made(text), st.integers())
@example(EVIL, EVIL, 1)
@example("", "", 0)
def test_whatever_a_forward_is_called_a_shell_only_sets_variables(id: str, address: str, port: int) -> None:
    words = shlex.split("\n".join(shell_lines(variables(id, address, port))))
    expected = [f"{name}={value}" for name, value in variables(id, address, port).items()]
    assert words == [word for pair in expected for word in ("export", pair)]
    assert all(name.isascii() and name.isidentifier() for name in variables(id, address, port))


VALUES = variables("web", EVIL, 1) | variables(EVIL, "a", 1) | variables("v6", "::", 5432)


def run(*words: str) -> tuple[str, str]:
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_a_real_shell_sets_them_and_runs_nothing() -> None:
    script = "\n".join([*shell_lines(VALUES), 'printf "%s %s" "$KPF_WEB_HOST" "$KPF_V6_ADDR"'])
    assert run("sh", "-c", script) == (f"{EVIL} [::1]:5432", "")


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish here")
def test_fish_sets_them_and_runs_nothing() -> None:
    script = "\n".join([*fish_lines(VALUES), 'printf "%s %s" "$KPF_WEB_HOST" "$KPF_V6_ADDR"'])
    assert run("fish", "--no-config", "-c", script) == (f"{EVIL} [::1]:5432", "")


def test_a_dotenv_file_quotes_only_what_has_to_be() -> None:
    assert dotenv_lines(variables("web/http", "localhost", 8080) | variables("v6", "::1", 1))[2:] == [
        "KPF_WEB_HTTP_ADDR=localhost:8080",
        "KPF_V6_HOST=::1",
        "KPF_V6_PORT=1",
        "KPF_V6_ADDR=[::1]:1",
    ]
    script = "\n".join([*dotenv_lines(VALUES), 'printf %s "$KPF_WEB_HOST"'])  # a shell reads it as well
    assert run("sh", "-c", script) == (EVIL, "")


def test_json_and_compose_give_the_same_values_back() -> None:
    assert json.loads("\n".join(json_lines(VALUES))) == VALUES
    service = yaml.safe_load("\n".join(compose_lines(VALUES)))
    assert {name: value.replace("$$", "$") for name, value in service["environment"].items()} == VALUES
    assert service["extra_hosts"] == ["host.docker.internal:host-gateway"]


def test_a_container_finds_the_host_by_its_name() -> None:
    for address in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "::"):
        assert seen_from_container(address) == "host.docker.internal"
    assert seen_from_container("192.168.1.7") == "192.168.1.7"
