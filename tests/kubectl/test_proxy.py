"""Which proxy is on the way, as Go reads the environment."""

from __future__ import annotations

import pytest

from kpf_supervise.kubectl.proxy import proxy_of

VIA = {"HTTPS_PROXY": "http://me:geheim@proxy:3128/"}


@pytest.mark.parametrize(
    ("server", "proxy_url", "environment", "proxy"),
    [
        ("https://api:6443", None, {}, ""),
        ("https://api:6443", None, VIA, "proxy:3128"),
        ("https://api:6443", None, {"https_proxy": "proxy:3128"}, "proxy:3128"),
        ("http://api:8080", None, VIA, ""),
        ("https://127.0.0.1:6443", None, VIA, ""),
        ("https://localhost:6443", None, VIA, ""),
        ("https://127.0.0.1:6443", "socks5://me:geheim@[::1]:1080", {}, "[::1]:1080"),
        ("https://api.corp:6443", None, VIA | {"NO_PROXY": "a, .corp"}, ""),
        ("https://api.corp:6443", None, VIA | {"NO_PROXY": "corp:6443"}, ""),
        ("https://api.corp:6443", None, VIA | {"no_proxy": "*"}, ""),
        ("https://api.corp:6443", None, VIA | {"NO_PROXY": "orp,10.0.0.0/8,"}, "proxy:3128"),
        ("https://10.1.2.3", None, VIA | {"NO_PROXY": "orp,10.0.0.0/8"}, ""),
        ("https://10.1.2.3", "http://proxy:1", VIA | {"NO_PROXY": "*"}, "proxy:1"),
        ("", None, VIA, ""),
    ],
)
def test_the_proxy_on_the_way(server: str, proxy_url: str | None, environment: dict[str, str], proxy: str) -> None:
    assert proxy_of(server, proxy_url, environment) == proxy
