"""The environment variables that tell a command where the forwards are. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

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
    host = _ANYWHERE.get(address, address)
    return {
        f"{prefix(id)}_HOST": host,
        f"{prefix(id)}_PORT": str(port),
        f"{prefix(id)}_ADDR": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
    }


def exports(id: str, address: str, port: int) -> list[str]:
    """The same as shell commands, quoted so that the shell takes each value literally."""
    return [f"export {name}={shlex.quote(value)}" for name, value in variables(id, address, port).items()]
