"""What is said of each class of mistake in a configuration file: the whole line that the user sees."""

from __future__ import annotations

import re

import pytest

from kpf_supervise.config.errors import ConfigError
from kpf_supervise.loading.loader import parse


def lines(text: str, name: str = "f") -> list[str]:
    """What is said of `text`, line by line; nothing if it is good."""
    try:
        parse(text, name, {})
    except ConfigError as error:
        return str(error).splitlines()
    return []


def with_option(line: str) -> str:
    """A good file but for its last line, which sets one option."""
    option = line.partition(":")[0]
    good = [] if option in ("target", "selector", "service", "svc", "deployment") else ["target: svc/web"]
    good += [] if option in ("ports", "port") else ["ports: 80"]
    return "\n    ".join(["forwards:\n  web:", *good, line])


def unwrapped(said: str) -> str:
    """`said` with its lines that are indented joined to those above."""
    return re.sub(r"\n +", " ", said)


OPTIONS = """
target: -web
f:4:13: forwards.web.target: the name "-web" begins with "-". Remove it: kubectl would read it as an option.

target: svc/
f:4:13: forwards.web.target: "" is not a name that Kubernetes accepts. Use lower-case letters, digits and '-', a
    letter or digit at both ends, 63 characters at most.

target: Web
f:4:13: forwards.web.target: "Web" is not a name that Kubernetes accepts. Use lower-case letters, digits, '-' and '.',
    a letter or digit at both ends, 253 characters at most.

target: svc/web.shop
f:4:13: forwards.web.target: "svc/web.shop" is a name of the cluster's DNS. Write target: service/web and beside it
    namespace: shop.

target: pod/a/b
f:4:13: forwards.web.target: "a/b" is not a name that Kubernetes accepts. Use lower-case letters, digits, '-' and '.',
    a letter or digit at both ends, 253 characters at most.

target: ingress/web
f:4:13: forwards.web.target: "ingress" is not a kind of target. Use one of pod, service, deployment, statefulset,
    daemonset, replicaset.

target: deploymnet/web
f:4:13: forwards.web.target: "deploymnet" is not a kind of target. Did you mean deployment/web?

target: [web]
f:4:13: forwards.web.target: a list where a single value belongs. Write it as one text, in quotes if it has a colon.

target:
f:4:12: forwards.web.target: no value. Write one, or remove the key.

selector: ""
f:4:15: forwards.web.selector: an empty selector, which would match every pod. Write it as for kubectl -l:
    app=search,tier=backend.

selector: app=search,tier in backend
f:4:15: forwards.web.selector: not a label selector from its character 12 on. Write it as for kubectl -l:
    app=search,tier=backend.

selector: "app:search"
f:4:15: forwards.web.selector: "app:search" is not a label key. Write it as for kubectl -l: app=search,tier=backend.

selector: {app: search}
f:4:15: forwards.web.selector: a group of keys where a single value belongs. Write it as one text, in quotes if it has
    a colon.

ports: 70000
f:4:12: forwards.web.ports: the port "70000" is out of range. Use 1 to 65535.

ports: 0
f:4:12: forwards.web.ports: the port "0" is out of range. Use 1 to 65535.

ports: "80:0"
f:4:12: forwards.web.ports: the port "0" is out of range. Use 1 to 65535.

ports: 08080
f:4:12: forwards.web.ports: "08080" has a port with a leading zero. Write 8080 for it.

ports: 0o17
f:4:12: forwards.web.ports: "0o17" names the remote port and leaves the local one open. Write "8080:0o17", or ":0o17"
    for any free local port.

ports: 1_000
f:4:12: forwards.web.ports: "1_000" is not a port. Write [LOCAL:]REMOTE, such as 9090, "8080:http" or ":80".

ports: http
f:4:12: forwards.web.ports: "http" names the remote port and leaves the local one open. Write "8080:http", or ":http"
    for any free local port.

ports: http:80
f:4:12: forwards.web.ports: the local port in "http:80" is not a number. Write LOCAL:REMOTE, such as "8080:http".

ports: 8000-8010
f:4:12: forwards.web.ports: "8000-8010" is a range of ports, and ranges are not supported. Write each: ["8000:8000",
    "8001:8001", …].

ports: 80, 90
f:4:12: forwards.web.ports: "80, 90" is not one port. Write several as a list: ["8080:80", "9090"].

ports: 127.0.0.1:8080:80
f:4:12: forwards.web.ports: "127.0.0.1:8080:80" has more than LOCAL:REMOTE. An IP address goes into the option
    address.

ports: 80:UDP
f:4:12: forwards.web.ports: "80:UDP" is not a port. Write [LOCAL:]REMOTE, such as 9090, "8080:http" or ":80".

ports: [":80", 8080: 80]
f:4:20: forwards.web.ports[1]: a port as a group of keys. Write "8080:80".

ports: []
f:4:12: forwards.web.ports: an empty list. Write at least one element.

ports: [80, 80:81]
f:4:17: forwards.web.ports[1]: local port 80 is taken by forwards.web.ports[0] in line 4. Choose another local port
    for one of them.

ports: [":80", 81, ":80"]
f:4:24: forwards.web.ports[2]: the same port once more. Remove it, or give it a local port.

namespace: my_shop
f:5:16: forwards.web.namespace: "my_shop" is not a name that Kubernetes accepts. Use lower-case letters, digits and
    '-', a letter or digit at both ends, 63 characters at most.

context: -x
f:5:14: forwards.web.context: "-x" is not a context's name. kubectl config get-contexts lists them.

context: "a\\tb"
f:5:14: forwards.web.context: "a�b" has a line break or another invisible character. Remove it.

address: example.com
f:5:14: forwards.web.address: "example.com" is not an IP address. Write localhost, or an address such as 0.0.0.0 or
    "::1".

hold: 30
f:5:11: forwards.web.hold: "30" has no unit. Write 30s for seconds; the units are ms, s, m, h.

hold: -3s
f:5:11: forwards.web.hold: "-3s" is a negative duration. Write a duration such as 30s.

hold: soon
f:5:11: forwards.web.hold: "soon" is not a duration. Write it as in 500ms, 30s, 10m or 1h30m.

hold: 9999999h
f:5:11: forwards.web.hold: "9999999h" is longer than a year. Write a shorter duration.

hold: {s: 30}
f:5:11: forwards.web.hold: a group of keys where a single value belongs. Write it as one text, in quotes if it has a
    colon.

idle_timeout: 0s
f:5:19: forwards.web.idle_timeout: a duration of nothing. Write more than 0, such as 500ms.

lazy: on
f:5:11: forwards.web.lazy: "on" is neither true nor false. Write true.

enabled: "no"
f:5:14: forwards.web.enabled: "no" is neither true nor false. Write false.

lazy: 1
f:5:11: forwards.web.lazy: "1" is neither true nor false. Write true or false.

protocol: http2
f:5:15: forwards.web.protocol: "http2" is not a protocol. Write auto, spdy or websocket.

reconnect: 3
f:5:16: forwards.web.reconnect: a single value where a group of keys belongs. Write it as in reconnect: {attempts: 5}.

reconnect: {attempts: 0}
f:5:27: forwards.web.reconnect.attempts: "0" is not a number of attempts. Write a whole number from 1 on, or
    unlimited.

reconnect: {initial: 0ms}
f:5:26: forwards.web.reconnect.initial: a duration of nothing. Write more than 0, such as 500ms.

reconnect: {initial: 1m}
f:5:16: forwards.web.reconnect: initial (60s) is longer than max (30s). Raise max or lower initial.

reconnect: {tries: 3}
f:5:17: forwards.web.reconnect.tries: unknown key "tries". Known here: attempts, initial, max.

attempts: 3
f:5:5: forwards.web.attempts: attempts has no place here. It belongs under reconnect.

holdd: 30s
f:5:5: forwards.web.holdd: unknown key "holdd". Did you mean hold?

idle-timeout: 10m
f:5:5: forwards.web.idle-timeout: unknown key "idle-timeout". Did you mean idle_timeout?

kubectl: /bin/kubectl
f:5:5: forwards.web.kubectl: kubectl has no place here. It belongs at the top of the file.

replicas: 2
f:5:5: forwards.web.replicas: unknown key "replicas". Known here: target, selector, ports, context, namespace,
    kubeconfig, address, hold, lazy, idle_timeout, balance, children, protocol, notify, reconnect, each, enabled,
    groups.

children: 17
f:5:15: forwards.web.children: "17" is not a number of children. Write a whole number from 1 to 16.

hold: !env HOLD
f:5:11: forwards.web.hold: something with the tag "!env" where a single value belongs. Write it as one text, in quotes
    if it has a colon.

<<: svc
f:5:9: forwards.web.<<: a single value where a group of keys belongs. Merge an anchored group: <<: *name.
"""

HABITS = """
service: web
f:4:5: forwards.web.service: unknown key "service". Did you mean target: service/web?

svc: shop/web
f:4:5: forwards.web.svc: unknown key "svc". Did you mean target: service/web?

deployment: {name: web}
f:4:5: forwards.web.deployment: unknown key "deployment". Did you mean target: deployment/NAME?
f:4:17: forwards.web.deployment: a group of keys where a single value belongs. Write it as one text, in quotes if it
    has a colon.

port: 8080
f:4:5: forwards.web.port: unknown key "port". Did you mean ports?

port: 99999
f:4:5: forwards.web.port: unknown key "port". Did you mean ports?
f:4:11: forwards.web.port: the port "99999" is out of range. Use 1 to 65535.

ports: 53:53/udp
f:4:12: forwards.web.ports: "53:53/udp" is UDP, and kubectl can't forward UDP. It forwards TCP only: remove this port,
    or name one of TCP.

ports: 80/TCP
f:4:12: forwards.web.ports: "80/TCP" names its protocol, which is always TCP. Write "80".

ports: 8000-8010:9000-9010
f:4:12: forwards.web.ports: "8000-8010:9000-9010" is a range of ports, and ranges are not supported. Write each:
    ["8000:9000", "8001:9001", …].

target: service/*
f:4:13: forwards.web.target: "service/*" has a wildcard, and a target is one object. For all services of a namespace
    write services: [{namespace: NAME}]; pods are chosen by their labels with selector:.

target: web-*
f:4:13: forwards.web.target: "web-*" has a wildcard, and a target is one object. For all services of a namespace
    write services: [{namespace: NAME}]; pods are chosen by their labels with selector:.

target: dev/svc/web
f:4:13: forwards.web.target: "dev/svc/web" has a namespace in it. Write target: service/web and beside it namespace:
    dev.

target: svc/web:80
f:4:13: forwards.web.target: "svc/web:80" has a port in it. The port goes into ports: target: service/web, ports: 80.

target: web-0:http
f:4:13: forwards.web.target: "web-0:http" has a port in it. The port goes into ports: target: web-0, ports: http.

target: web.dev.svc.cluster.local
f:4:13: forwards.web.target: "web.dev.svc.cluster.local" is a name of the cluster's DNS. Write target: service/web and
    beside it namespace: dev.

target: service/web.dev.svc
f:4:13: forwards.web.target: "service/web.dev.svc" is a name of the cluster's DNS. Write target: service/web and
    beside it namespace: dev.

ports: {local: 9000, remote: 80}
f:4:12: forwards.web.ports: a port as a group of keys. Write "9000:80".

ports: [{containerPort: http, hostPort: 9000}, {8080: 80}]
f:4:13: forwards.web.ports[0]: a port as a group of keys. Write "9000:http".
f:4:52: forwards.web.ports[1]: a port as a group of keys. Write "8080:80".

ports: {targetPort: 80}
f:4:12: forwards.web.ports: a port as a group of keys. Write ":80".

ports: {http: 80}
f:4:12: forwards.web.ports: a group of keys where a single value belongs. Write it as one text, in quotes if it has a
    colon.
"""


@pytest.mark.parametrize("case", HABITS.strip().split("\n\n"))
def test_what_is_written_in_other_tools_gets_the_answer_for_this_one(case: str) -> None:
    option, said = case.split("\n", 1)
    assert lines(with_option(option)) == unwrapped(said).splitlines()


def test_all_of_them_are_told_at_once() -> None:
    text = "forwards:\n  web: {service: web*, port: 80/udp, context: $C}\n  db: {target: db:1, ports: {port: 1}}"
    assert [line.split(": ")[1] for line in lines(text)] == [
        "forwards.web.service",
        "forwards.web.service",
        "forwards.web.port",
        "forwards.web.port",
        "forwards.web.context",
        "forwards.db.target",
        "forwards.db.ports",
    ]


@pytest.mark.parametrize("target", ["pod/web.dev.svc", "web.dev", "deployment/a.b", "svc/web", "po/a"])
def test_names_that_only_look_like_it_are_right(target: str) -> None:
    assert lines(with_option(f"target: {target}")) == []


@pytest.mark.parametrize("case", OPTIONS.strip().split("\n\n"))
def test_option(case: str) -> None:
    option, said = case.split("\n", 1)
    assert lines(with_option(option)) == [unwrapped(said)]
