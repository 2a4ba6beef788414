"""The environment variables that tell a command where the forwards are. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from types import MappingProxyType

LOOPBACK = ("localhost", "127.0.0.1", "::1")
FROM_CONTAINER = "host.docker.internal"  # the host, as containers see it
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def prefix(id: str) -> str:
    """`web/http` → `KPF_WEB_HTTP`."""
    return "KPF_" + re.sub(r"[^A-Z0-9]+", "_", id.upper())


def alike(ids: Iterable[str]) -> tuple[str, str] | None:
    """Two forwards that would have the same variables, or None."""
    seen: dict[str, str] = {}
    for id in ids:
        if (other := seen.setdefault(prefix(id), id)) != id:
            return other, id
    return None


def variables(id: str, address: str, port: int) -> dict[str, str]:
    """`KPF_<NAME>_HOST`, `_PORT` and `_ADDR` of a forward that listens."""
    host, at = reached_at(address, port)
    return {f"{prefix(id)}_HOST": host, f"{prefix(id)}_PORT": str(port), f"{prefix(id)}_ADDR": at}


def reached_at(address: str, port: int) -> tuple[str, str]:
    """The host, and the host with the port, of what listens on `address`."""
    host = _ANYWHERE.get(address, address)
    return host, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def proxy_variables(address: str, port: int, present: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """By which programs find the proxy. Some read only upper case, some only lower; curl reads http_proxy in lower case
    alone. What is excepted in the environment as it is `present` stays so."""
    _, at = reached_at(address, port)
    excepted = present.get("no_proxy") or present.get("NO_PROXY") or ""
    values = {
        "ALL_PROXY": f"socks5h://{at}",
        "HTTP_PROXY": f"http://{at}",
        "HTTPS_PROXY": f"http://{at}",
        # *.localhost is excepted with localhost, and comes all the same: its port is the proxy's
        "NO_PROXY": ",".join(dict.fromkeys([*LOOPBACK, *filter(None, excepted.split(","))])),
    }
    return {name: value for key, value in values.items() for name in (key, key.lower())}


def shell_lines(values: Mapping[str, str]) -> list[str]:
    """For sh, bash and zsh; quoted so that the shell takes each value literally."""
    return [f"export {name}={shlex.quote(value)}" for name, value in values.items()]


def fish_lines(values: Mapping[str, str]) -> list[str]:
    escaped = {name: value.replace("\\", r"\\").replace("'", r"\'") for name, value in values.items()}
    return [f"set -gx {name} '{value}'" for name, value in escaped.items()]


def dotenv_lines(values: Mapping[str, str]) -> list[str]:
    """For env_file of compose, docker run --env-file, direnv and the libraries that read .env: plain values stand
    without quotes, which docker run would keep."""
    plain = re.compile(r"[\w.:\[\]/-]*")
    quoted = {
        name: value if plain.fullmatch(value) else '"' + re.sub(r'([\\"$`])', r"\\\1", value) + '"'
        for name, value in values.items()
    }
    return [f"{name}={value}" for name, value in quoted.items()]


def json_lines(values: Mapping[str, str]) -> list[str]:
    return json.dumps(dict(values), indent=2).splitlines()


def compose_lines(values: Mapping[str, str]) -> list[str]:
    """What belongs below a service of a compose file. The strings of JSON are strings of YAML; compose expands $."""
    lines = [f"  {name}: {json.dumps(value).replace('$', '$$')}" for name, value in values.items()]
    return ["environment:", *lines, "extra_hosts:", f'  - "{FROM_CONTAINER}:host-gateway"']


def seen_from_container(address: str) -> str:
    """The address at which a container finds what listens on `address` of its host."""
    return FROM_CONTAINER if address in (*LOOPBACK, *_ANYWHERE) else address
