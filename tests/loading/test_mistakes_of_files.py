"""Mistakes of whole files: YAML, paths, pipes, and many at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kpf_supervise.config.errors import ConfigError
from kpf_supervise.loading.forwards import EXAMPLE
from kpf_supervise.loading.loader import load
from tests.loading.test_mistakes import lines, unwrapped

FILES = """
- target: web
--
f:1:1: a list where a group of keys belongs. Write for example
    forwards: {web: {target: service/web, ports: 8080}}.
====
forwards:
--
f:1:10: forwards: no forwards are declared. Write each below its name, for example
    forwards: {web: {target: service/web, ports: 8080}}.
====
forwards: {}
--
f:1:11: forwards: no forwards are declared. Write each below its name, for example
    forwards: {web: {target: service/web, ports: 8080}}.
====
forwards: [web]
--
f:1:12: forwards[0]: a single value where a group of keys belongs. Write each as in - {name: web, target: service/web,
    ports: 8080}.
====
forwards: []
--
f:1:11: forwards: an empty list. Write at least one element.
====
forwards:
  - {name: web, target: svc/web, ports: 80, hodl: 1s}
  - {name: web, target: svc/db, ports: 81}
  - {target: svc/api, ports: [82, http]}
  - name: -x
    prots: 83
--
f:2:45: forwards.web.hodl: unknown key "hodl". Did you mean hold?
f:3:12: forwards.web.name: the name web is in line 2 already. Give one of them another name.
f:4:5: forwards[2]: no name. Add one, such as name: web.
f:4:35: forwards[2].ports[1]: "http" names the remote port and leaves the local one open. Write "8080:http", or
    ":http" for any free local port.
f:5:5: forwards.-x: neither a target nor a selector. Add one, such as target: service/web.
f:5:11: forwards.-x.name: "-x" cannot name a forward. Use letters, digits, '.', '_' and '-', a letter or digit first,
    63 characters at most.
f:6:5: forwards.-x.prots: unknown key "prots". Did you mean ports?
====
x-common: &common
  hold: 1x
  lazi: true
x-other: {this: [is, nobody's], business: }
forwards:
  web:
    <<: *common
    target: svc/web
    ports: 80
  db:
    <<: *common
    target: svc/db
    ports: 81
--
f:2:9: forwards.web.hold: "1x" is not a duration. Write it as in 500ms, 30s, 10m or 1h30m.
f:3:3: forwards.web.lazi: unknown key "lazi". Did you mean lazy?
====
x-only: {hold: 1m}
--
f:1:1: no forwards. Write them below the line forwards:.
====
forwards:
  web: {x-own: 1, target: svc/web, ports: 80}
--
f:2:9: forwards.web.x-own: unknown key "x-own". Known here: target, selector, ports, context, namespace, kubeconfig,
    address, hold, lazy, idle_timeout, balance, children, protocol, notify, reconnect, each, enabled, groups.
====
forwards: {web: {target: svc/web, ports: ${PORT}}}
--
f:1:43: a variable in brackets or braces, without quotes. Put it in quotes: "${NAME}".
====
forwards:
  web:
    target: svc/web
    ports: ["80:80", ${PORT:-81}]
--
f:4:23: a variable in brackets or braces, without quotes. Put it in quotes: "${NAME}".
====
forwards:
  web:
    target: svc/web
    name: web
    ports: 80
--
f:4:5: forwards.web.name: name has no place here. The key above is the forward's name; name belongs to the entries of a
    list.
====
forwards:
  web:
--
f:2:7: forwards.web: nothing where a group of keys belongs. Give it a target and ports.
====
context: kind-dev
--
f:1:1: no forwards. Write them below the line forwards:.
====
services:
--
f:1:10: services: no services are declared. Write it as in services: [{namespace: shop}].
====
services: [shop]
--
f:1:12: services[0]: a single value where a group of keys belongs. Write it as in services: [{namespace: shop}].
====
services:
  - {namespace: shop, local: 10000, exclude: "*-metrics"}
  - {namespace: shop, address: each, exclude: [a, "A*"]}
  - {namespace: shop, selector: "=", locl: free}
  - {namespace: data}
  - {namespace: data, local: free}
forwards:
  web: {target: web, ports: 80, exclude: a, address: each, each: true}
--
f:2:30: services[0].local: "10000" says no local ports. Did you mean +10000?
f:3:51: services[1].exclude[1]: "A*" is not a pattern of service names. Write it as in "*-metrics".
f:4:33: services[2].selector: not a label selector from its character 1 on. Write it as for kubectl -l:
    app=search,tier=backend.
f:4:38: services[2].locl: unknown key "locl". Did you mean local?
f:6:5: services[4]: the same services once more. Remove this group, or give it another selector.
f:8:33: forwards.web.exclude: exclude has no place here. It belongs under services.
f:8:54: forwards.web.address: "each" is not an IP address. Write localhost, or an address such as 0.0.0.0 or "::1".
f:8:66: forwards.web.each: each: true with a target that is one pod. Name a workload, a service or a selector.
====
forwards:
  web: {}
  db: {hold: 30s}
  search: {target: web, ports: 80, selector: app=web}
--
f:2:8: forwards.web: nothing where a group of keys belongs. Give it a target and ports.
f:3:3: forwards.db: neither a target nor a selector. Add one, such as target: service/web.
f:3:3: forwards.db: no ports. Add them, such as ports: "8080:http".
f:4:36: forwards.search.selector: a selector beside a target. Keep one of the two.
====
forwards:
  my web: {target: web, ports: 80}
  -web: {target: web, ports: 81}
--
f:2:3: forwards.my web: "my web" cannot name a forward. Use letters, digits, '.', '_' and '-', a letter or digit
    first, 63 characters at most.
f:3:3: forwards.-web: "-web" cannot name a forward. Use letters, digits, '.', '_' and '-', a letter or digit first, 63
    characters at most.
====
forwards:
  web: {target: web, ports: 80}
  "web": {target: web, ports: 81}
  db: {target: web, ports: 82, target: db}
context: a
forwards: {}
--
f:3:3: forwards.web: this key is in line 2 already. Remove one of the two.
f:4:32: forwards.db.target: this key is in line 4 already. Remove one of the two.
f:6:1: forwards: this key is in line 1 already. Remove one of the two.
====
forwards:
  a: {target: web, ports: 8080:80}
  b: {target: web, ports: [9090, 8080], enabled: false}
  c: {target: web, ports: 9090, address: 0.0.0.0}
  d: {target: web, ports: 8080, address: "::"}
  e: {target: web, ports: 8080, address: 127.0.0.2}
  f: {target: web, ports: 9090, address: 127.0.0.2}
--
f:3:34: forwards.b.ports[1]: local port 8080 is taken by forwards.a.ports in line 2. Choose another local port for one
    of them.
f:4:27: forwards.c.ports: local port 9090 is taken by forwards.b.ports[0] in line 3. Choose another local port for one
    of them.
f:5:27: forwards.d.ports: local port 8080 is taken by forwards.a.ports in line 2. Choose another local port for one of
    them.
f:7:27: forwards.f.ports: local port 9090 is taken by forwards.c.ports in line 4. Choose another local port for one of
    them.
====
defaults: {ports: 80, enabled: false, hold: 5, reconnect: {initial: 1h}}
forward: {}
--
f:1:12: defaults.ports: ports has no place here. It belongs under a forward.
f:1:23: defaults.enabled: enabled has no place here. It belongs under a forward.
f:1:45: defaults.hold: "5" has no unit. Write 5s for seconds; the units are ms, s, m, h.
f:1:59: defaults.reconnect: initial (3600s) is longer than max (30s). Raise max or lower initial.
f:2:1: forward: unknown key "forward". Did you mean forwards?
f:2:10: forward: no forwards are declared. Write each below its name, for example
    forwards: {web: {target: service/web, ports: 8080}}.
====
forwards:
  ? [a, b]
  : {target: web, ports: 80}
--
f:2:5: forwards: a key that is not one word. Write one word.
====
forwards:
\tweb: 1
--
f:2:1: a tab where YAML wants spaces. Indent with spaces.
====
forwards:
  web: {target: web
  db: 1
--
f:3:5: a list or group without its closing bracket. Close it, or add the missing comma.
====
forwards:
  web:
    target: web
   ports: 80
--
f:4:4: this line fits no block above. Align it with its neighbours, and check the quotes.
====
forwards:
  web: {target: web, ports: [:80]}
--
f:2:30: a value that begins with a colon. Put it in quotes, as in ":80".
====
forwards:
  web: {target: 'web, ports: 80}
--
f:2:17: a quote that is never closed. Close it.
====
forwards:
  web: *nobody
--
f:2:8: an alias (*name) without an anchor (&name) above it. Add the anchor, or quote the text.
====
forwards:
  web: &a {target: web, ports: 80}
  db: &a {target: web, ports: 81}
--
f:3:7: an anchor (&name) that is there already. Give it another name.
====
forwards:
  web:
    target web
    ports: 80
--
f:4:10: a colon where no key can be. Check the indentation, and the colon of the line above; put a value with ": " in
    it in quotes.
====
forwards: a: b
--
f:1:12: a colon where no key can be. Check the indentation, and the colon of the line above; put a value with ": " in
    it in quotes.
====
forwards: @web
--
f:1:11: a value can't begin with this character. Put the value in quotes.
====
forwards: {web: {target: web, ports: 80}}
---
forwards: {}
--
f:2:1: a second document begins here. Keep one document in the file.
====
forwards: "\\q"
--
f:1:13: an unknown escape in a text. Double the backslash, or use single quotes.
====
forwards: "\\UFFFFFFFF"
--
f:1:14: an escape for no character. Remove it.
====
forwards: ]
--
f:1:11: this is not YAML. Check the brackets, quotes and indentation here.
"""


@pytest.mark.parametrize("case", FILES.strip("\n").split("\n====\n"))
def test_file(case: str) -> None:
    text, said = case.split("\n--\n")
    assert lines(text) == unwrapped(said).splitlines()


def test_all_mistakes_come_at_once_in_the_order_of_the_file() -> None:
    assert [
        ": ".join(line.split(": ")[:2])
        for line in lines("""\
namespace: Shop
forwards:
  web:
    target: svc/web
    ports: [8080:http, 99999]
    hold: 30
  db:
    portz: 5432
  web: {target: svc/web, ports: 1}
defaults:
  lazy: yes
""")
    ] == [
        "f:1:12: namespace",
        "f:5:24: forwards.web.ports[1]",
        "f:6:11: forwards.web.hold",
        "f:7:3: forwards.db",
        "f:8:5: forwards.db.portz",
        "f:9:3: forwards.web",
        "f:11:9: defaults.lazy",
    ]


def test_relative_paths(tmp_path: Path) -> None:
    said = lines("kubeconfig: kube\nkubectl: bin/kubectl\nforwards: {a: {target: b, ports: 80}}", str(tmp_path / "f"))
    assert said == [
        f'{tmp_path}/f:1:13: kubeconfig: there is no file "kube". Write a path from {tmp_path}, or from ~ or /.',
        f'{tmp_path}/f:2:10: kubectl: "bin/kubectl" is not a program. '
        "Write kubectl, or the path of one that is executable.",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, ": cannot be read: No such file or directory. Check the path."),
        (b"forwards:\n  caf\xe9:", ":2:6: not UTF-8 text. Save the file as UTF-8."),
        (b"", f":1:1: the file is empty. {EXAMPLE}"),
        (
            b"# only a comment",
            ":1:1: the file is empty. Write for example forwards: {web: {target: service/web, ports: 8080}}.",
        ),
        (b"#" * 200_001, ": larger than 200 kB. Check that this is the right file."),
        (b"forwards:\n  a: \x00", ":2:6: the character U+0000 is not allowed. Remove it."),
    ],
)
def test_load(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load(path)
    assert str(error.value) == f"{path}{said}"


def run(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, input=text, capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize("check", [["--check"], ["--detach"], []])
def test_a_pipe_or_a_device_is_named_at_once(check: list[str], tmp_path: Path) -> None:
    """Nobody will ever write to it."""
    path = tmp_path / "shop.yaml"
    os.mkfifo(path)
    for each, what in ((path, "a pipe"), (Path("/dev/zero"), "a device")):
        done = run(sys.executable, "-m", "kpf_supervise", *check, str(each))
        assert (done.returncode, done.stderr) == (
            2,
            f"{each}: cannot be read: it is {what}, not a regular file. "
            "Name a regular file; a pipe is read only at the start, and only as /dev/stdin or <(…).\n",
        )


def test_a_pipe_that_is_named_on_purpose_is_read() -> None:
    text = "forwards: {web: {target: service/web, ports: 8080}}"
    command = [sys.executable, "-m", "kpf_supervise", "/dev/stdin"]
    done = run(*command, "--check", text=text)
    assert (done.returncode, done.stdout) == (0, "/dev/stdin: valid; it declares 1 forward\n")
    script = f"{sys.executable} -m kpf_supervise --check <(sleep 0.1; echo '{text}')"
    done = run("bash", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    done = run(*command, "--detach", text=text)
    assert (done.returncode, "a pipe is read only once" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [*a]", "f:1:4: a value that contains itself. Remove the alias in it."),
        ("a: &a\n  <<: *a", "f:1:4: a value that contains itself. Remove the alias in it."),
        (
            "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{f'*a{i - 1},' * 9}]}}\n" for i in range(1, 30)),
            "f:7:14: a value that its aliases make too large. Write it out more plainly.",
        ),
        ("a: " + "[" * 99 + "]" * 99, "f:1:52: a value that is nested too deeply. Write it out more plainly."),
        ("a: " + "[" * 900, "f: nested too deeply. Check the brackets."),
    ],
)
def test_a_bomb_is_named_at_once(text: str, said: str) -> None:
    assert lines(text) == [said]


def test_a_mistake_in_a_merged_group_is_named_once_and_a_secret_never_in_full() -> None:
    text = "forwards:\n  a: &a {target: a, ports: 1, hold: " + "s3cret" * 20 + "}\n  b: {<<: *a, ports: 2}"
    (said,) = lines(text)
    assert said.startswith(f'f:2:37: forwards.a.hold: "{("s3cret" * 20)[:59]}…" is not a duration.')
