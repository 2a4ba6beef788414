from __future__ import annotations

import shlex
import subprocess

from hypothesis import example, given, settings
from hypothesis import strategies as st

from kpf_supervise.instance.environment import exports, variables

EVIL = "x; echo owned $(echo owned) `echo owned` ' \" \\ \n # & |"
text = st.text(st.characters(exclude_categories=()))  # lone surrogates, too


@settings(max_examples=2_000, deadline=None, derandomize=True, database=None)
@given(text, text, st.integers())
@example(EVIL, EVIL, 1)
@example("", "", 0)
def test_whatever_a_forward_is_called_a_shell_only_sets_variables(id: str, address: str, port: int) -> None:
    words = shlex.split("\n".join(exports(id, address, port)))
    expected = [f"{name}={value}" for name, value in variables(id, address, port).items()]
    assert words == [word for pair in expected for word in ("export", pair)]
    assert all(name.isascii() and name.isidentifier() for name in variables(id, address, port))


def test_a_real_shell_sets_them_and_runs_nothing() -> None:
    script = "\n".join([*exports("web", EVIL, 1), *exports(EVIL, "a", 1), 'printf %s "$KPF_WEB_HOST"'])
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (EVIL, "")
