"""The configuration file: what it means, the example, the schema."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kpf_supervise.config.contents import PROXIED, Config, Proxy
from kpf_supervise.config.options import OF_FILE, OPTIONS
from kpf_supervise.config.schema import DEFAULTS, FORWARD, RECONNECT, SERVICES, TOP, schema
from kpf_supervise.loading.loader import load, parse
from kpf_supervise.model import Cluster, Forward, Reconnect, Target
from tests.loading.test_mistakes import lines, with_option

EXAMPLE = Path(__file__).parent.parent.parent / "config.example.yaml"


def forward(options: str) -> list[Forward]:
    return list(parse(f"forwards: {{web: {{target: svc/web, ports: 80, {options}}}}}", "f").forwards)


def test_example() -> None:
    assert load(EXAMPLE) == Config(
        (
            Forward(id="web/http", target=Target("service", "web"), local=8080, remote="http"),
            Forward(id="web/9090", target=Target("service", "web"), local=9090, remote=9090),
            Forward(id="db", target=Target("statefulset", "db"), local=5432, remote=5432),
            Forward(
                id="search",
                target=Target("selector", "app=search,tier=backend"),
                local=9200,
                remote=9200,
                lazy=True,
                idle_timeout=600.0,
            ),
        ),
        proxy=Proxy(port=1080),
    )


def test_example_shows_each_option_and_what_it_comments_out_is_good(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    for option in {*TOP, *FORWARD, *RECONNECT}:
        assert f"{option}:" in text, option
    shown = re.sub(r"^( *)# (- |  )?( *[a-z_]+:|\")", r"\1\2\3", text, flags=re.MULTILINE)
    assert len(re.findall(r"^ *#", shown, re.MULTILINE)) == 8  # the prose
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch()
    assert lines(re.sub(r"(kubeconfig: )\S+", rf"\g<1>{kubeconfig}", shown)) == []


def test_nearest_setting_wins(tmp_path: Path) -> None:
    (tmp_path / "kube").touch()
    (tmp_path / "kubectl").touch(mode=0o755)
    config = parse(
        """
context: one
namespace: top
kubectl: ./kubectl
defaults: {context: two, kubeconfig: kube, hold: 0s, reconnect: {attempts: unlimited, max: 1m}}
forwards:
  a: {target: web, ports: 80, namespace: "1", reconnect: {initial: 1.5s}, address: "0::1", idle_timeout: 1h30m}
  b: {target: web, ports: 80, context: three, address: 127.0.0.1, protocol: spdy, enabled: false, hold: 500ms}
""",
        str(tmp_path / "f"),
    )
    assert config.kubectl == str(tmp_path / "kubectl")
    a, b = config.forwards
    assert a.cluster == Cluster(tmp_path / "kube", "two")
    assert b.cluster == Cluster(tmp_path / "kube", "three")
    assert (a.namespace, a.hold, a.address, a.idle_timeout) == ("1", 0.0, "::1", 5400.0)
    assert (b.namespace, b.hold, b.protocol, b.enabled) == ("top", 0.5, "spdy", False)
    assert (a.reconnect, b.reconnect) == (Reconnect(None, 1.5, 60.0), Reconnect(None, 0.5, 60.0))


def test_balance_takes_four_kubectls_unless_a_number_is_given() -> None:
    assert [(each.balance, each.children) for each in forward("balance: true")] == [(True, 4)]
    assert [(each.balance, each.children) for each in forward("balance: true, children: 2")] == [(True, 2)]
    text = "defaults: {balance: true}\nforwards: {a: {target: a, ports: 1}, b: {target: b, ports: 2, balance: false}}"
    config = parse(text, "f.yaml")
    assert [(each.balance, each.children) for each in config.forwards] == [(True, 4), (False, 1)]
    assert (config.template.balance, config.template.children) == (True, 4)


def test_the_proxy_has_the_defaults_of_the_file_and_an_address_of_its_own() -> None:
    assert parse("proxy: 1080", "f") == Config((), proxy=Proxy(port=1080))
    defaults = "namespace: shop\ndefaults: {hold: 3s, address: 0.0.0.0, lazy: false, idle_timeout: 1m}\n"
    config = parse(f"{defaults}proxy: {{port: 1080, namespaces: data, direct: true}}", "f")
    template = replace(PROXIED, namespace="shop", hold=3.0, idle_timeout=60.0)
    assert config.proxy == Proxy(port=1080, namespaces=("data",), direct=True, template=template)
    own = parse(f'{defaults}proxy: {{port: 1, address: "::1", idle_timeout: never, context: c, hold: 1s}}', "f").proxy
    assert own is not None
    assert (own.address, own.template.idle_timeout, own.template.hold) == ("::1", None, 1.0)
    assert own.template.cluster == Cluster(context="c")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("proxy:", "f:1:7: proxy: nothing where a group of keys belongs. Write a port, as in"),
        ("proxy: {hold: 1s}", "f:1:1: proxy: no port. Add one, such as port: 1080."),
        ("proxy: web", 'f:1:8: proxy: "web" is not a port. Write a number, such as 1080.'),
        ("proxy: 0", 'f:1:8: proxy: the port "0" is out of range. Use 1 to 65535.'),
        (
            "proxy: [1080]",
            "f:1:8: proxy: a list where a group of keys belongs. Write a port, as in proxy: 1080, or its",
        ),
        ("proxy: {adress: x, port: 1}", 'f:1:9: proxy.adress: unknown key "adress". Did you mean address?'),
        ("proxy: {address: x, port: 1}", 'f:1:18: proxy.address: "x" is not an IP address. Write localhost, or an'),
        ("proxy: {port: 1, namespaces: [a, B]}", 'f:1:34: proxy.namespaces[1]: "B" is not a name that Kubernetes'),
        ("proxy: {port: 1, namespaces: []}", "f:1:30: proxy.namespaces: an empty list. Write at least one element."),
        ("proxy: {port: 1, children: 2}", "f:1:18: proxy.children: children has no place here. It belongs under a"),
        (
            "proxy: 8080\nforwards: {web: {target: svc/web, ports: 8080}}",
            "f:1:8: proxy: local port 8080 is taken by forwards.web.ports in line 2. Choose another local port for one",
        ),
        (
            "forwards: {web: {target: svc/web, ports: 8080, direct: true}}",
            "f:1:48: forwards.web.direct: direct has no place here. It belongs under proxy.",
        ),
    ],
)
def test_mistakes_of_the_proxy(text: str, said: str) -> None:
    (line,) = lines(text)
    assert line.startswith(said)


WEB_8080 = "forwards: {web: {target: svc/web, ports: 8080}}"


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("9464", ("localhost", 9464)),
        ("localhost:9464", ("localhost", 9464)),
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:8080", ("0.0.0.0", 8080)),
        ('"[::1]:9464"', ("::1", 9464)),
    ],
)
def test_where_the_metrics_are_served(written: str, place: tuple[str, int]) -> None:
    other = WEB_8080.replace("8080", "80")
    assert parse(f"metrics: {written}\n{other}", "f").metrics == place
    in_schema = TOP["metrics"]["anyOf"][1]["pattern"]
    assert re.search(in_schema, written.strip('"'))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metrics: true", 'f:1:10: metrics: "true" is not a port. Write a number, such as 1080.'),
        ("metrics:", "f:1:9: metrics: no value. Write one, or remove the key."),
        ("metrics: 0", 'f:1:10: metrics: the port "0" is out of range. Use 1 to 65535.'),
        ("metrics: web.shop:80", 'f:1:10: metrics: "web.shop" is not an IP address. Write localhost, or an address'),
        ("metrics: {port: 1}", "f:1:10: metrics: a group of keys where a single value belongs."),
        ("metrics: 8080", "f:1:10: metrics: local port 8080 is taken by forwards.web.ports in line 2. Choose another"),
    ],
)
def test_mistakes_of_the_metrics(text: str, said: str) -> None:
    (line,) = lines(f"{text}\n{WEB_8080}")
    assert line.startswith(said)


def test_kubeconfig_from_home_and_kubectl_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "kube").touch()
    config = parse("kubeconfig: ~/kube\nkubectl: kubectl-1.32\nforwards: {a: {target: b, ports: 80}}", "f")
    assert config.forwards[0].cluster.kubeconfig == tmp_path / "kube"
    assert config.kubectl == "kubectl-1.32"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("web", "pod/web"),
        ("po/web.0", "pod/web.0"),
        ("Pods/web", "pod/web"),
        ("svc/web", "service/web"),
        ("services/1", "service/1"),
        ("deploy/web", "deployment/web"),
        ("deployments.apps/web", "deployment/web"),
        ("sts/web", "statefulset/web"),
        ("ds/web", "daemonset/web"),
        ("rs/web", "replicaset/web"),
    ],
)
def test_target(text: str, target: str) -> None:
    assert str(parse(f"forwards: {{a: {{target: {text}, ports: 80}}}}", "f").forwards[0].target) == target


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ("5432", [("web", 5432, 5432)]),
        ("'5432'", [("web", 5432, 5432)]),
        ("2222:22", [("web", 2222, 22)]),  # 133342 in YAML 1.1
        ("8080:http", [("web", 8080, "http")]),
        ("8080:on", [("web", 8080, "on")]),
        ("8080:a-name-that-only-a-service-may-have", [("web", 8080, "a-name-that-only-a-service-may-have")]),
        (":80", [("web", None, 80)]),
        ("0:80", [("web", None, 80)]),
        ("':http'", [("web", None, "http")]),
        ("[8080:http, 9090]", [("web/http", 8080, "http"), ("web/9090", 9090, 9090)]),
        ("[8080:80, 8081:80]", [("web/8080:80", 8080, 80), ("web/8081:80", 8081, 80)]),
        ("[':80', 8081:80]", [("web/80", None, 80), ("web/8081:80", 8081, 80)]),
    ],
)
def test_ports(ports: str, expected: list[tuple[str, int | None, int | str]]) -> None:
    found = parse(f"forwards:\n  web:\n    target: svc/web\n    ports: {ports}", "f").forwards
    assert [(each.id, each.local, each.remote) for each in found] == expected


def test_yaml_guesses_no_types() -> None:
    (found,) = forward("namespace: on, context: 2024-01-01, lazy: TRUE, enabled: false")
    assert (found.namespace, found.cluster.context, found.lazy, found.enabled) == ("on", "2024-01-01", True, False)
    assert parse("forwards: {80: {target: web, ports: 80}}", "f").forwards[0].id == "80"


def test_merge_keys() -> None:
    config = parse(
        """
forwards:
  a: &a {target: svc/a, ports: 1, hold: 1s, lazy: true}
  b: &b {<<: *a, ports: 2, hold: 2s}
  c: {<<: [*b, *a], ports: 3}
""",
        "f",
    )
    assert [(each.local, each.hold, each.lazy) for each in config.forwards] == [
        (1, 1, True),
        (2, 2, True),
        (3, 2, True),
    ]


def test_a_port_on_different_addresses_is_no_conflict() -> None:
    addresses = ("127.0.0.1", "127.0.0.2", '"::1"', "192.0.2.1", '"::2"')
    assert lines("forwards:\n" + "".join(
        f"  a{index}: {{target: web, ports: 80, address: {address}}}\n" for index, address in enumerate(addresses)
    )) == []  # fmt: skip


def test_a_forward_for_each_pod() -> None:
    config = parse(
        """
forwards:
  web: {target: svc/web, ports: 80}
  db: {target: sts/db, ports: [5432, "9000:http"], each: true, hold: 1m}
  off: {target: sts/db, ports: 81, each: false}
""",
        "f",
    )
    assert [each.id for each in config.forwards] == ["web", "off"]
    assert [(each.id, each.local, each.hold) for each in config.each] == [("db/5432", 5432, 60), ("db/http", 9000, 60)]
    assert config.summary == "4 forwards"


def test_services() -> None:
    plain, strange = parse(
        """
namespace: shop
defaults: {hold: 1m, lazy: false, address: 127.0.0.1}
services:
  - {}
  - {namespace: data, context: kind, selector: "tier=backend", exclude: ["*-metrics", old], local: +10000,
     address: each, idle_timeout: 5m, lazy: false, reconnect: {attempts: 1}}
""",
        "f",
    ).services
    template = plain.template
    assert (template.namespace, template.hold, template.address) == ("shop", 60.0, "127.0.0.1")
    assert (template.lazy, template.dormant) == (True, True), "whatever the defaults say"
    assert (plain.selector, plain.exclude, plain.offset, plain.each_address) == ("", (), 0, False)
    template = strange.template
    assert (template.namespace, template.cluster.context, template.idle_timeout) == ("data", "kind", 300.0)
    assert (template.lazy, template.dormant, template.reconnect.attempts) == (False, False, 1)
    assert (strange.selector, strange.exclude) == ("tier=backend", ("*-metrics", "old"))
    assert (strange.offset, strange.each_address) == (10_000, True)
    both = parse("forwards: {a: {target: b, ports: 80}}\nservices: {namespace: shop, local: free, exclude: a*}", "f")
    assert both.summary == "1 forward and the services of 1 namespace"
    (one,) = both.services
    assert (one.offset, one.exclude) == (None, ("a*",))


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("forwards: {a: {target: b, ports: 80}}", "utf-8-sig")
    assert load(path).forwards[0].id == "a"


def test_a_list_of_entries_with_a_name_is_the_same(tmp_path: Path) -> None:
    by_name = "forwards:\n  b: {target: svc/b, ports: [80, 81], each: true}\n  a: {target: svc/a, ports: 82, groups: x}"
    as_list = """
x-common: &common {groups: [x, y, x]}
forwards:
- {name: b, target: svc/b, ports: [80, 81], each: true}
- <<: *common
  name: a
  target: svc/a
  ports: 82
  groups: x
"""
    assert parse(as_list, "f") == parse(by_name, "f")
    assert parse(as_list.replace("  groups: x\n", ""), "f").forwards[0].groups == ("x", "y")


GROUPED = """
forwards:
  a: {target: svc/a, ports: 80, groups: [x, y]}
  b: {target: svc/b, ports: 81, groups: y}
  c: {target: svc/c, ports: 82}
  d: {target: svc/d, ports: 83, groups: x, enabled: false}
  e: {target: svc/e, ports: 84, groups: y, each: true}
services: [{namespace: n, groups: z}, {namespace: m}]
"""


def test_only_a_group_is_started() -> None:
    config = parse(GROUPED, "f")
    assert config.groups == ["x", "y", "z"]
    assert config.only([]) == config
    for groups, enabled, others in [("x", "a", ([], [])), ("xy", "ab", (["e"], [])), ("z", "", ([], ["n"]))]:
        chosen = config.only(groups)
        assert [each.id for each in chosen.forwards] == ["a", "b", "c", "d"]
        assert [each.id for each in chosen.forwards if each.enabled] == list(enabled)
        found = [each.id for each in chosen.each], [each.template.namespace for each in chosen.services]
        assert found == others


# The schema


def properties(tree: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every option in a schema, with its schema."""
    found = list(tree.get("properties", {}).items())
    inner = [child for _, child in found] + [child for child in [tree.get("additionalProperties")] if child]
    return found + [option for child in inner for option in properties(child)]


def test_schema_describes_each_option() -> None:
    tree = schema()
    assert tree["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for name, option in properties(tree):
        assert option["description"].endswith("."), name
    assert tree["properties"]["forwards"]["additionalProperties"]["properties"].keys() == FORWARD.keys()


def test_schema_knows_what_is_read() -> None:
    flat = {*FORWARD, *(f"reconnect.{name}" for name in RECONNECT)}
    top = {"persist", "metrics", "credentials", "kubectl", "socket", "kubeconfig", "direct"}
    assert flat - {"ports", "reconnect", "kubeconfig", "groups"} | top == set(OPTIONS)
    assert FORWARD.keys() - DEFAULTS.keys() == {"target", "selector", "ports", "each", "enabled", "groups"}


def test_schema_has_the_defaults_of_the_model() -> None:
    model = Forward(id="", target=Target("pod", "x"), remote=1)
    for name, option in properties(schema()):
        if "default" in option and name != "kubectl":
            place: object = (
                Proxy(port=1)
                if name == "direct"
                else Config(())
                if name in OF_FILE
                else model.reconnect
                if name in RECONNECT
                else model
            )
            parser = f"reconnect.{name}" if name in RECONNECT else name
            assert OPTIONS[parser].parse(str(option["default"]).lower()) == getattr(place, name), name
    assert Config(()).kubectl is None  # the command line and $KUBECTL come between the file and the default


@pytest.mark.parametrize("text", ["30s", "1h30m", "1.5s", "500ms", "0s", "30", "-3s", "1d", "1.s", "s", "30s ", ""])
def test_schema_and_reader_agree_on_durations(text: str) -> None:
    in_schema = bool(re.search(FORWARD["hold"]["pattern"], text))
    assert in_schema == (not lines(with_option(f"hold: '{text}'")))


@pytest.mark.parametrize("text", ["same", "free", "+1", "+10000", "10000", "+0", "+", "", "each"])
def test_schema_and_reader_agree_on_local_ports_of_services(text: str) -> None:
    in_schema = bool(re.search(SERVICES["local"]["pattern"], text))
    assert in_schema == (not lines(f"services: {{local: '{text}'}}"))


@pytest.mark.parametrize("text", ["80", "80:80", ":80", "8080:http", "80:80:80", "http", "a:80", "80/tcp", "", "8080:"])
def test_schema_and_reader_agree_on_ports(text: str) -> None:
    in_schema = bool(re.search(FORWARD["ports"]["anyOf"][0]["anyOf"][1]["pattern"], text))
    assert in_schema == (not lines(with_option(f"ports: '{text}'")))
