"""Whether kubectl and API server fit. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kpf_supervise.model import Cause, Problem

_SUPPORTED = 1  # minor versions of difference: kubernetes.io/releases/version-skew-policy
_MINOR = re.compile(r"v?1\.(\d+)")


def shown(versions: Sequence[tuple[int, int]]) -> str | None:
    """Of a kubectl that picks one of several: the oldest and the newest."""
    ends = dict.fromkeys((versions[0], versions[-1])) if versions else ()
    return " to ".join(f"{major}.{minor}" for major, minor in ends) or None


def skew(versions: Sequence[tuple[int, int]], server: str) -> Problem | None:
    """A hint if the API server is further away from kubectl than Kubernetes supports."""
    found = _MINOR.match(server)
    if found is None or not versions:
        return None
    minor = int(found[1])
    nearest = min((each for _, each in versions), key=lambda each: abs(each - minor))
    if abs(nearest - minor) <= _SUPPORTED:
        return None
    how = "newer" if nearest > minor else "older"
    message = f"kubectl 1.{nearest} is {abs(nearest - minor)} minor versions {how} than the API server ({server})"
    step = f"Kubernetes supports one: if something does not work, try kubectl 1.{minor}"
    return Problem(Cause.KUBECTL, message, step)
