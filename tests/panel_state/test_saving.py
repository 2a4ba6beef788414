"""A forward is added to the file: its own lines, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kpf_supervise.loading.loader import load
from kpf_supervise.model import Cluster
from kpf_supervise.panel_state.saving import NotSaved, append, lines_of
from tests.panel.instance import forward

LINES = ["api:", "  target: service/api", '  ports: "9000:http"', "  namespace: shop", "  hold: 60s"]


def add(folder: Path, text: str) -> str:
    file = folder / "shop.yaml"
    file.write_text(text)
    before = {each.id: each for each in load(file).forwards}
    append(file, "api", LINES)
    after = {each.id: each for each in load(file).forwards}
    assert after.pop("api").namespace == "shop"
    assert after == before
    assert sorted(os.listdir(folder)) == ["shop.yaml"]
    return file.read_text()


@pytest.mark.parametrize(
    ("text", "indent", "after"),
    [
        ("# mine\nforwards:\n  web: {target: service/web, ports: 80}  # a word\n", 2, ""),
        ("forwards:\n    web:\n        target: service/web\n        ports:\n        - 80\n        - 81", 4, ""),
        (
            "forwards:\n  web: {target: pod/web, ports: 80}\n\n# the end\ndefaults: {hold: 1m}\n",
            2,
            "\n# the end\ndefaults: {hold: 1m}\n",
        ),
        ("forwards:\n  web:\n    ports: [80,\n      81]\n    target: service/web\n# bye\n", 2, "# bye\n"),
        ("\ufeffforwards:\n  web: {target: pod/web, ports: 80}\n", 2, ""),
    ],
)
def test_the_lines_come_after_the_last_forward(text: str, indent: int, after: str, tmp_path: Path) -> None:
    added = "".join(f"{' ' * indent}{line}\n" for line in LINES)
    before = text.removesuffix(after)
    assert add(tmp_path, text) == before + ("" if before.endswith("\n") else "\n") + added + after


def test_a_list_gets_an_entry_more(tmp_path: Path) -> None:
    text = "forwards:\n- name: web\n  target: service/web\n  ports: 80\n\n# the end\nnamespace: shop\n"
    before, after = text.split("\n\n")
    added = "".join(f"{line}\n" for line in ("- name: api", *LINES[1:]))
    assert add(tmp_path, text) == f"{before}\n{added}\n{after}"
    (tmp_path / "shop.yaml").unlink()
    indented = text.replace("- ", "  - ").replace("\n  target", "\n    target").replace("\n  ports", "\n    ports")
    assert "\n  - name: api\n    target: service/api\n" in add(tmp_path, indented)


def test_variables_stay_as_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'forwards:\n  web: {target: service/web, ports: "${WEB_PORT}:80", hold: "${HOLD:-1m}"}\n'
    monkeypatch.setenv("WEB_PORT", "8080")
    assert add(tmp_path, text).startswith(text)
    monkeypatch.delenv("WEB_PORT")
    with pytest.raises(NotSaved, match=r"can't be read here: .*:2:37: .* the variable WEB_PORT is not set"):
        append(tmp_path / "shop.yaml", "more", ["more:", "  target: service/more", "  ports: 81"])


def test_a_dollar_sign_of_a_value_is_no_variable(tmp_path: Path) -> None:
    described = {"settings": {"context": "a$b"}, "own": ["context"]}
    (tmp_path / "f").write_text("forwards:\n  web: {target: service/web, ports: 80}\n")
    append(tmp_path / "f", "api", lines_of(forward("api") | {"remote": "80", "localPort": 9000}, described, None))
    assert load(tmp_path / "f").forwards[1].cluster == Cluster(context="a$b")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("forwards: {web: {target: service/web, ports: 80}}\n", "one below the other"),
        ("{forwards: {web: {target: service/web, ports: 80}}}\n", "in braces"),
        ("forwards:\n  api: {target: service/web, ports: 80}\n", "already"),
        ("forwards:\n  web: {target: service/web, ports: 9000}\n", "would be wrong then"),
        ("forwards:\n  web: {target: service/web\n", "fix it first"),
        ("forwards:\n  web: &a {target: service/web, prots: 80}\n", "would be wrong then|unknown"),
    ],
)
def test_where_it_cannot_be_done_the_file_stays_as_it_is(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(text)
    with pytest.raises(NotSaved, match=why):
        append(file, "api", LINES)
    assert file.read_text() == text
    assert os.listdir(tmp_path) == ["shop.yaml"]


def test_the_mode_stays_and_a_link_keeps_leading_to_the_file(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text("forwards:\n  web: {target: service/web, ports: 80}\n")
    real.chmod(0o640)
    link.symlink_to(real)
    append(link, "api", LINES)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert "api:" in real.read_text()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotSaved, match=r"can't be written: No such file"):
        append(tmp_path / "nosuch.yaml", "api", LINES)


def test_lines_say_what_the_file_does_not_say_anyway(tmp_path: Path) -> None:
    made = forward("x-1", localPort=0, remote="80", target="app in (a, b),!c", resourceType="selector")
    own = {"namespace": "dev", "context": 'a "b" c', "address": "::1", "hold": "90s", "lazy": True, "children": 2}
    described = {"settings": own | {"notify": "none", "kubeconfig": "/kube"}, "own": [*own]}
    file = tmp_path / "f.yaml"
    file.write_text("\n".join(["forwards:", *(f"  {line}" for line in lines_of(made, described, "kind"))]))
    (read,) = load(file).forwards
    assert (str(read.target), read.local, read.remote) == ("app in (a, b),!c", None, 80)
    assert (read.address, read.lazy, read.cluster, read.namespace) == ("::1", True, Cluster(None, 'a "b" c'), "dev")
    assert (read.hold, read.children, read.notify) == (90, 2, "none")
    assert not [line for line in lines_of(made, described, 'a "b" c') if "context" in line]
