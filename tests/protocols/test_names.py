"""What a client may ask for, and what becomes of everything else."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpf_supervise.protocols.names import Name, is_of_cluster, read_name, split_authority
from kpf_supervise.protocols.refusal import Refused, Why

NAMES = """
web                                  | web
web.shop                             | web shop
WEB.Shop                             | web shop
web.shop.                            | web shop
web.shop.svc                         | web shop
web.shop.svc.                        | web shop
web.shop.svc.cluster.local           | web shop
web.shop.svc.cluster.local.          | web shop
web.123                              | web 123
db-0.db.data                         | db data db-0
db-0.db.data.svc                     | db data db-0
db-0.db.data.svc.cluster.local       | db data db-0
web.svc                              | web svc
web.localhost                        | web
web.shop.localhost                   | web shop
web.shop.svc.localhost               | web shop
web.shop.svc.cluster.local.localhost | web shop
db-0.db.data.svc.localhost           | db data - db-0
http.web.shop.localhost              | web shop - http
9090.web.shop.localhost.             | web shop - 9090
9090.db-0.db.data.localhost          | db data db-0 9090
"""
PORT = 80


def cases(table: str) -> list[tuple[str, str]]:
    return [
        (left.strip(), right.strip()) for left, _, right in (line.partition("|") for line in table.split("\n")[1:-1])
    ]


@pytest.mark.parametrize(("host", "meant"), cases(NAMES))
def test_names(host: str, meant: str) -> None:
    service, namespace, pod, port = (*meant.split(), *["-"] * 3)[:4]
    expected = Name(
        service,
        None if namespace == "-" else namespace,
        None if pod == "-" else pod,
        PORT if port == "-" else int(port) if port.isdecimal() else port,
    )
    assert read_name(host, PORT) == expected


NOT_NAMES = """
                     | NO_SUCH_NAME
.                    | NO_SUCH_NAME
localhost            | NO_SUCH_NAME
localhost.localhost  | NO_SUCH_NAME
a.b.c.d              | NO_SUCH_NAME
www.shop.example.com | NO_SUCH_NAME
web..shop            | NO_SUCH_NAME
-web.shop            | NO_SUCH_NAME
web_1.shop           | NO_SUCH_NAME
web.shop:80          | NO_SUCH_NAME
wéb.shop             | NO_SUCH_NAME
../web.shop          | NO_SUCH_NAME
web%2e.shop          | NO_SUCH_NAME
10.96.0.10           | ADDRESS
::1                  | ADDRESS
[fd00::1]            | ADDRESS
"""


@pytest.mark.parametrize(("host", "why"), cases(NOT_NAMES))
def test_what_is_no_name(host: str, why: str) -> None:
    with pytest.raises(Refused) as caught:
        read_name(host, PORT)
    assert caught.value.why is Why[why]


def test_an_address_is_refused_with_what_to_do() -> None:
    with pytest.raises(Refused, match=r"socks5h://.*--socks5-hostname"):
        read_name("10.96.0.10", 80)


def test_a_name_of_ten_thousand_characters_is_refused_in_one_short_sentence() -> None:
    for name in ("a" * 10_000, "a." * 5_000, "web." + "a" * 10_000 + ".localhost"):
        with pytest.raises(Refused) as caught:
            read_name(name, 80)
        assert len(caught.value.sentence) < 200


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_is_refused(text: str) -> None:
    with suppress(Refused):
        name = read_name(text, 80)
        assert all("/" not in each and "." not in each for each in (name.service, name.namespace or "", name.pod or ""))


def test_what_can_be_nothing_else_than_the_cluster_s() -> None:
    assert all(map(is_of_cluster, ("web.shop.svc", "web.shop.SVC.", "a.svc.cluster.local", "web.localhost")))
    assert not any(map(is_of_cluster, ("example.com", "web", "web.shop", "localhost")))


def test_host_and_port() -> None:
    assert split_authority("web.shop:80") == ("web.shop", 80)
    assert split_authority("web.shop", 443) == ("web.shop", 443)
    assert split_authority("web.shop:", 80) == ("web.shop", 80)
    assert split_authority("[::1]:80") == ("[::1]", 80)
    assert split_authority("[::1]") == ("[::1]", None)
    for text in (
        "",
        ":80",
        "::1",
        "::1:80x",
        "web:0",
        "web:65536",
        "web:http",
        "web:8²",
        "me@web:80",
        "web/x:80",
        "a b",
    ):
        with pytest.raises(Refused):
            split_authority(text)
