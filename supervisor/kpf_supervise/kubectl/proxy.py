"""Which proxy a kubectl uses: kubectl does not name a proxy that refuses the connection. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit


def proxy_of(server: str, proxy_url: str | None, environment: Mapping[str, str]) -> str:
    """host:port of the proxy for the API server at the URL `server`, or "" for none. From the kubeconfig's `proxy-url`,
    else from the environment, as Go reads it (golang.org/x/net/http/httpproxy). User and password are left out."""
    try:
        url = urlsplit(server)
    except ValueError:  # kubectl itself reports what is wrong
        return ""
    if not proxy_url:
        name = f"{url.scheme}_proxy"
        proxy_url = environment.get(name.upper()) or environment.get(name) or ""
        exceptions = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
        if url.hostname is None or _is_loopback(url.hostname) or _excepted(url.hostname, exceptions):
            return ""
    where = proxy_url.rpartition("@")[2]
    return where.rpartition("//")[2].partition("/")[0]


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _excepted(host: str, exceptions: str) -> bool:
    """Whether NO_PROXY covers `host`: by *, its name, a parent domain, its address or a network."""
    address = _address(host)
    for each in (word.strip().lower() for word in exceptions.split(",")):
        domain = each.rpartition(":")[0] if each.count(":") == 1 else each
        domain = domain.removeprefix("*").lstrip(".")
        if each == "*" or (domain and (host == domain or host.endswith(f".{domain}"))):
            return True
        try:
            if address is not None and address in ip_network(each, strict=False):
                return True
        except ValueError:  # a name
            pass
    return False


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
